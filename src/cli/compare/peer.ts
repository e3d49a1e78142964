import type { Hijacked } from '../client/client.ts';
import { Failure } from '../failure.ts';
import { type Bench, type Body, probePath } from './bench.ts';
import { Capture } from './capture.ts';

/** The peer's own port, for the network probe. */
export const peerPort = 47119;

/**
 * A plain container beside those that are measured: the other end of the network probe, and the one that sees when a
 * port opens. It ends with its input, so it lives as long as this client does (see leftovers.ts).
 */
export class Peer {
  #address: string | undefined;
  readonly #socket: Hijacked['socket'];
  readonly #output: Capture;
  readonly #waiting = new Map<string, (at: number) => void>();
  #count = 0;
  #partial = '';

  static async start(bench: Bench, body: Body): Promise<Peer> {
    const id = await bench.create('peer', {
      Image: body.Image,
      Entrypoint: [probePath],
      Cmd: ['peer', String(peerPort)],
      User: '0',
      OpenStdin: true,
      StdinOnce: true,
      AttachStdin: true,
      AttachStdout: true,
      AttachStderr: true,
      Healthcheck: { Test: ['NONE'] },
      HostConfig: { NetworkMode: body.HostConfig.NetworkMode, UsernsMode: 'host' },
    });
    await bench.putProbe(id);
    const hijacked = await bench.client.hijack(`/containers/${id}/attach`, {
      query: { stream: true, stdin: true, stdout: true, stderr: true },
    });
    const peer = new Peer(hijacked);
    try {
      await bench.start(id);
      const output = peer.#output;
      await bench.unlessAborted(Promise.race([output.firstByte, output.ended]));
      if (output.firstByteAt === undefined)
        throw new Failure(`the peer of the probes ended at once: ${output.lastLine}`);
      peer.#address = await addressOf(bench, id);
      return peer;
    } catch (error) {
      peer.close();
      throw error;
    }
  }

  private constructor(hijacked: Hijacked) {
    this.#socket = hijacked.socket;
    this.#output = new Capture(hijacked, (text) => this.#take(text));
  }

  /** On its network; undefined when it has none of its own. */
  get address(): string | undefined {
    return this.#address;
  }

  /** Resolves to the moment (monotonic milliseconds) at which `port` takes a connection; never if it does not. */
  async listening(address: string, port: number, milliseconds: number): Promise<number> {
    const id = String(this.#count++);
    const opened = new Promise<number>((resolve) => this.#waiting.set(id, resolve));
    this.#socket.write(`${id} ${address} ${port} ${milliseconds}\n`);
    return await opened;
  }

  close(): void {
    this.#output.close();
  }

  #take(text: string): void {
    const lines = (this.#partial + text).split('\n');
    this.#partial = lines.pop() ?? '';
    for (const line of lines) this.#answer(line);
  }

  #answer(line: string): void {
    const [id = '', state] = line.split(' ');
    if (state === 'open') this.#waiting.get(id)?.(performance.now());
    this.#waiting.delete(id);
  }
}

interface Addresses {
  NetworkSettings: {
    Networks?: Record<string, { IPAddress?: string; GlobalIPv6Address?: string }> | null;
  };
}

/** Its first address on a network; undefined when it has none of its own. */
export async function addressOf(bench: Bench, id: string): Promise<string | undefined> {
  const { NetworkSettings } = await bench.client.get<Addresses>(`/containers/${id}/json`);
  const all = Object.values(NetworkSettings.Networks ?? {});
  const found = all.flatMap(({ IPAddress, GlobalIPv6Address }) => [IPAddress, GlobalIPv6Address]);
  return found.find((address) => address !== undefined && address !== '');
}
