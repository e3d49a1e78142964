import assert from 'node:assert/strict';
import { test } from 'node:test';
import { memoryOfProcess, parseStatus, sumMappings } from './process-memory.ts';

const smaps = `7f0000000000-7f0010000000 rw-s 00000000 00:01 1035 /memfd:memory-backend-memfd (deleted)
Size:             262144 kB
Rss:               40000 kB
Pss:               20000 kB
Private_Clean:         0 kB
Private_Dirty:         4 kB
SwapPss:               8 kB
VmFlags: rd wr sh
7f0020000000-7f0020001000 r-xp 00000000 fe:00 12 /usr/bin/a name with 1-2 rw-s
Pss:                   3 kB
Private_Clean:         1 kB
SwapPss:               0 kB
7f0030000000-7f0030001000 r--s 00000000 fe:00 12 /var/cache/fontconfig
Pss:                   5 kB
`;

test('mappings add up, and those shared for writing are told apart', () => {
  assert.deepEqual(sumMappings(smaps), {
    proportional: (20000 + 3 + 5) * 1024,
    private: 5 * 1024,
    swapped: 8 * 1024,
    sharedMappings: 20000 * 1024,
  });
});

test('a process says its own parent and user; one that has ended nothing', async () => {
  const own = await memoryOfProcess(process.pid, { mappings: true });
  const rolledUp = await memoryOfProcess(process.pid, { mappings: false });
  assert.ok((rolledUp?.proportional ?? 0) > 1024 * 1024);
  assert.equal(own?.parent, process.ppid);
  assert.equal(own?.uid, process.geteuid?.());
  assert.ok((own?.proportional ?? 0) > 1024 * 1024);
  assert.equal(await memoryOfProcess(2 ** 22 + 1, { mappings: true }), undefined);
  assert.equal(parseStatus('Name:\tUid: 7\nUid:\t5\t6\t7\t8\nPPid:\t9\n').uid, 6);
});
