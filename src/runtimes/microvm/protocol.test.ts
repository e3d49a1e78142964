import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { firstCredit, frameType, headerSize, maxPayload, ports, protocolVersion } from './protocol.ts';

const header = readFileSync(join(import.meta.dirname, '../../../native/guest/protocol.h'), 'utf8');

test("the guest's program speaks the same numbers", () => {
  const inC = Object.fromEntries(
    [...header.matchAll(/^ {2}FRAME_(\w+) = (\d+),$/gm)].map(([, name, value]) => [name!, Number(value)]),
  );
  const here = Object.fromEntries(
    Object.entries(frameType).map(([name, value]) => [
      name.replace(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase(),
      value,
    ]),
  );
  assert.deepEqual(inC, here);
});

test("the guest's program has the same limits and names", () => {
  const inC = Object.fromEntries(
    [...header.matchAll(/^#define (\w+) "?([\w.]+)"?$/gm)].map(([, name, value]) => [name!, value!]),
  );
  assert.deepEqual(inC, {
    HEADER_SIZE: String(headerSize),
    MAX_PAYLOAD: String(maxPayload),
    FIRST_CREDIT: String(firstCredit),
    PROTOCOL_VERSION: String(protocolVersion),
    WORKLOAD_PORT: ports.workload,
    AGENT_PORT: ports.agent,
  });
});
