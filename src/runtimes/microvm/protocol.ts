/**
 * What a guest's init and the host say to each other over two virtio-serial ports. `native/guest/protocol.h` is the same
 * in C; a unit test compares the numbers.
 *
 * A frame is `u32 length` (of the payload), `u32 session`, `u8 type`, then the payload; little-endian. A longer payload
 * than {@link maxPayload} is a broken peer: the host gives the guest up, the guest ignores the frame.
 *
 * Structured payloads are lists of fields, `name NUL value NUL …`; a name may repeat (`arg`, `env`). Unknown names are
 * ignored, so that a newer host may talk to an older guest of the pool. What a guest sends is hostile until checked.
 *
 * **Port `isle.workload`** carries the first process's streams between the guest and the shim, which owns the other
 * end for the life of the VM and needs no daemon. Session is 0. Guest to shim: `stdout`, `stderr`, `stdinCredit`,
 * `exit`. Shim to guest: `stdin`, `stdinEnd`, `signal`. Data flows while the reader reads: a full port blocks the writer.
 * `exit` is the last frame: all output came before it, and what the workload wrote is in the share. The shim may end the VM
 * at once, or answers `done`, whereupon the guest reboots; without either it does so after ten seconds.
 *
 * **Port `isle.agent`** is the daemon's, which comes and goes. The daemon begins with `hello` and a nonce; the guest
 * answers `welcome` with the same nonce and forgets what it knew of the connection before: sessions that are not
 * detached are hung up. The daemon drops everything that comes before its `welcome`. After it, each request has a session number chosen
 * by the daemon (never 0, never used twice on a connection), and each session ends with exactly one `done`, `failed`
 * or `exit` from the guest.
 */
export const frameType = {
  /** `nonce` */
  hello: 1,
  /**
   * `nonce`, `version` (of this protocol), `kernel`, `bootMs` (since the kernel began, milliseconds), `workload` (`none`,
   * `starting`, `running`, `ended`: a daemon that comes back may have missed the answer to `run`)
   */
  welcome: 2,

  /** Starts the workload: see `guest-spec.ts`. Answered by `done` when its program was executed, else `failed`. */
  run: 10,
  /** Starts another process in the workload's namespaces: fields as `run`'s process, `detached`. Answered by `started`, then data, then `exit`. */
  exec: 11,
  /** `signal` (a number); `session` of an exec, or absent for the workload's first process. `done` or `failed`. */
  signal: 12,
  /** `columns`, `rows`, `session` as in `signal`. `done` or `failed`. */
  resize: 13,
  /** Answered by `done` with counters: see `guest-stats.ts`. */
  stats: 14,
  /** Answered by `done` with one `process` field for each process of the workload. */
  processes: 15,
  /** `time` (nanoseconds since 1970): sets the clock, after a pause or for a guest of the pool. `done`. */
  clock: 16,
  /** `seed` (hexadecimal): reseeds the random pool. `done`. */
  reseed: 17,
  /** Ends the workload's processes, syncs and powers off. No answer: the VM ends. */
  powerOff: 18,

  /** Fields as the request says. */
  done: 30,
  /** `errno` (a number), `what` (which step), `detail`. */
  failed: 31,
  /** An exec runs: `pid` (the guest's). */
  started: 32,
  /** The process ended: `code` (0–255), `oom` (`1` when the guest's kernel killed it for memory). */
  exit: 33,

  /** Raw bytes. */
  stdin: 40,
  /** Empty: end of file. */
  stdinEnd: 41,
  stdout: 42,
  stderr: 43,
  /** Bytes of `stdin` that may be sent in addition (u32). Nothing may be sent before the first one. */
  stdinCredit: 44,
  /** Bytes of `stdout` and `stderr` together that an exec may send in addition (u32, from the daemon; {@link firstCredit} to begin with). */
  outputCredit: 45,
} as const;

export type FrameType = (typeof frameType)[keyof typeof frameType];

/** bytes before the payload */
export const headerSize = 9;

/** bytes */
export const maxPayload = 256 * 1024;

/** Bytes of output an exec may send before the daemon grants more. */
export const firstCredit = 256 * 1024;

export const protocolVersion = 1;

/** Names of the virtio-serial ports, as under /sys/class/virtio-ports in the guest. */
export const ports = { workload: 'isle.workload', agent: 'isle.agent' } as const;
