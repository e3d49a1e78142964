/**
 * Named points before and after every external effect, where the crash suite makes the daemon die or fail.
 *
 * `ISLE_FAILPOINT=name=action[;name=action…]`; actions: `kill` (SIGKILL to this process), `error` (throws EIO),
 * `enospc` (throws ENOSPC), `sleep:MS`. `name=action@N` acts on the Nth hit only. The release bundle defines
 * the variable away, so the check costs nothing and cannot be turned on there.
 *
 * The crash suite finds the names by reading the sources for `failpoint('…')`: write the name as a literal.
 */
const armed = parse(process.env.ISLE_FAILPOINT);

export function failpoint(name: string): void {
  if (armed === undefined) return;
  const point = armed.get(name);
  if (point === undefined || ++point.hits < point.from) return;
  act(name, point.action);
}

type Point = { action: string; from: number; hits: number };

function parse(text: string | undefined): Map<string, Point> | undefined {
  if (!text) return undefined;
  const points = new Map<string, Point>();
  for (const part of text.split(';')) {
    const [name, rest = ''] = part.split('=', 2);
    const [action = '', from = '1'] = rest.split('@', 2);
    if (name) points.set(name, { action, from: Number(from), hits: 0 });
  }
  return points;
}

function act(name: string, action: string): void {
  if (action === 'kill') {
    process.kill(process.pid, 'SIGKILL');
    // SIGKILL is delivered when the kernel next returns to user space: nothing after this may run.
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 10_000);
  }
  if (action.startsWith('sleep:')) {
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, Number(action.slice(6)));
    return;
  }
  const errno = action === 'enospc' ? 'ENOSPC' : 'EIO';
  throw Object.assign(new Error(`${errno}: failpoint ${name}`), { code: errno });
}
