/** Docker's multiplexed stream: who writes, three zero bytes, the payload's length, the payload. */
export const streamNumbers = { stdin: 0, stdout: 1, stderr: 2, system: 3 } as const;

export function frame(stream: keyof typeof streamNumbers, payload: Buffer): Buffer {
  const framed = Buffer.allocUnsafe(8 + payload.length);
  framed.writeUInt32BE(streamNumbers[stream] * 0x1000000, 0);
  framed.writeUInt32BE(payload.length, 4);
  payload.copy(framed, 8);
  return framed;
}

export const rawStreamType = 'application/vnd.docker.raw-stream';
export const multiplexedStreamType = 'application/vnd.docker.multiplexed-stream';

/** The content type of attach, exec and logs: clients before API 1.42 know only the raw one. */
export function streamType(tty: boolean, version: number): string {
  return tty || version < 42 ? rawStreamType : multiplexedStreamType;
}
