import { close } from 'node:fs';
import { constants } from 'node:os';
import { nativeCalls } from './native.ts';
import { attributes, readText, split } from './netlink-message.ts';
import { NetworkJob } from './network-job.ts';
import { createPoll, READABLE } from './poll.ts';

export interface TableWatch {
  /** Reads what has happened so far without calling back; true when the table's last change was its deletion. */
  drain(): boolean;
  close(): void;
}

/**
 * Calls `onDeleted` when somebody deletes the `inet` table `table` (a firewall's reload flushes everything). The
 * caller's own replacements are told apart by calling `drain()` right after them.
 */
export async function watchTable(table: string, onDeleted: () => void): Promise<TableWatch> {
  const NETLINK_NETFILTER = 12;
  const NFNLGRP_NFTABLES = 7;
  const { sockets } = await new NetworkJob()
    .listenNetlink(NETLINK_NETFILTER, 1 << (NFNLGRP_NFTABLES - 1))
    .run();
  const fd = sockets[0]!.fd;
  const drain = (): boolean => {
    let deleted = false;
    for (;;) {
      const packet = calls.receive(fd);
      if (typeof packet !== 'number') deleted = lastIsDeletion(packet, table) ?? deleted;
      // Events were lost, the table's deletion perhaps among them.
      else if (packet === -constants.errno.ENOBUFS || packet === -constants.errno.EMSGSIZE) deleted = true;
      else return deleted;
    }
  };
  const poll = createPoll(fd, () => {
    if (drain()) onDeleted();
  });
  poll.start(READABLE);
  poll.unref();
  return {
    drain,
    close() {
      poll.close();
      close(fd, () => {});
    },
  };
}

const calls = nativeCalls<{ receive(fd: number): Buffer | number }>()('receive');

function lastIsDeletion(data: Buffer, table: string): boolean | undefined {
  const NEWTABLE = 10 << 8;
  const DELTABLE = NEWTABLE | 2;
  const NFPROTO_INET = 1;
  let result: boolean | undefined;
  for (const { type, body } of split(data)) {
    if ((type !== NEWTABLE && type !== DELTABLE) || body[0] !== NFPROTO_INET) continue;
    if (readText(attributes(body.subarray(4)).get(1)) === table) result = type === DELTABLE;
  }
  return result;
}
