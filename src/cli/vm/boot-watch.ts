import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { MachineBody } from '../client/machine-types.ts';
import type { ContainerInspect } from '../client/types.ts';
import type { Context } from '../context.ts';
import { containerPath } from '../each-name.ts';
import { Failure } from '../failure.ts';
import { saveStream } from '../save-stream.ts';
import { Demultiplexer } from '../session/demultiplex.ts';
import { lastLines } from './console.ts';
import { machinePath } from './machine.ts';

/** What shows that a guest is up. */
export type BootSign = 'a login prompt' | 'its guest agent' | 'the end of cloud-init';

/** Lines shown of a boot that failed. */
const shownLines = 20;

/**
 * Starts a machine by `start` (false: it ran already) and waits until it shows that its guest is up: by a login prompt or
 * cloud-init's last line on its console, or by its agent. Throws with the last lines of the console (and a picture of the screen
 * in a file) when it ends, or when `seconds` have passed.
 */
export async function waitForBoot(
  context: Context,
  machine: { Id: string; Name: string },
  options: { seconds: number; screenshot: string | undefined; start: () => Promise<boolean> },
): Promise<BootSign> {
  const { Config } = await context.client.get<ContainerInspect>(`${containerPath(machine.Id)}/json`);
  // Not the log: a prompt is no whole line, and comes into it late. From before the start, so that nothing is missed.
  const { socket } = await context.client.hijack(`${containerPath(machine.Id)}/attach`, {
    query: { stream: true, stdout: true, stderr: true },
  });
  socket.on('error', () => {});
  const stop = new AbortController();
  stop.signal.addEventListener('abort', () => socket.destroy());
  const heard: Heard = { text: '' };
  try {
    const started = await options.start();
    if (!started) heard.text = (await lastLines(context, machine.Id, shownLines, Config.Tty)).toString();
  } catch (error) {
    stop.abort();
    throw error;
  }
  const late = sleep(options.seconds * 1000, 'late' as const, { signal: stop.signal });
  const signs = [
    onConsole(socket, heard, Config.Tty),
    byAgent(context, machine.Id, stop.signal),
    ended(context, machine.Id, stop.signal),
    late,
  ];
  for (const sign of signs) sign.catch(() => {});
  try {
    const sign = await Promise.race(signs);
    if (sign !== 'late' && sign !== 'off') return sign;
    const what =
      sign === 'off'
        ? `${machine.Name} ended before its guest was up`
        : `${machine.Name} shows no login prompt, guest agent or end of cloud-init after ${options.seconds} s`;
    throw await failure(context, machine, heard.text, what, sign === 'late' ? options : undefined);
  } finally {
    stop.abort();
  }
}

/** The end of a console's output, with what colours it, means that somebody may log in. */
export function bootSignIn(text: string): BootSign | undefined {
  // oxlint-disable-next-line no-control-regex
  const plain = text.replace(/\x1b\[[0-9;?]*[A-Za-z]|\x1b[()][A-Z0-9]|\x1b[=>]/g, '').replace(/\r/g, '');
  if (
    /^Cloud-init v\. \S+ finished at /m.test(plain) ||
    /cloud-init\[\d+\]: Cloud-init v\. \S+ finished/.test(plain)
  )
    return 'the end of cloud-init';
  const prompt =
    /(^|\n|[\w.-] )login: ?\n?$/i.test(plain) || /(^|\n|[\w.-] )login: \S+ \(automatic login\)/.test(plain);
  return prompt ? 'a login prompt' : undefined;
}

/** Characters that are looked at, and shown. */
const window = 8192;

/** What the console wrote; a prompt stands at its end. */
interface Heard {
  text: string;
}

async function onConsole(socket: AsyncIterable<unknown>, heard: Heard, tty: boolean): Promise<BootSign> {
  let found = bootSignIn(heard.text);
  const decoder = new TextDecoder();
  const take = (data: Buffer) => {
    heard.text = (heard.text + decoder.decode(data, { stream: true })).slice(-window);
    found ??= bootSignIn(heard.text);
  };
  const frames = tty ? undefined : new Demultiplexer({ stdout: take, stderr: take });
  if (found) return found;
  for await (const chunk of socket) {
    if (frames) frames.write(chunk as Buffer);
    else take(chunk as Buffer);
    if (found) return found;
  }
  // It ended: that is seen elsewhere.
  return await new Promise<never>(() => {});
}

async function byAgent({ client }: Context, id: string, signal: AbortSignal): Promise<BootSign> {
  for (;;) {
    await sleep(2000, undefined, { signal });
    const { Running } = await client.get<MachineBody>(machinePath(id), undefined, signal);
    if (Running?.Guest) return 'its guest agent';
  }
}

async function ended({ client }: Context, id: string, signal: AbortSignal): Promise<'off'> {
  const path = `${containerPath(id)}/wait`;
  const body = await client.body('POST', path, { query: { condition: 'not-running' }, signal });
  for await (const _ of body);
  return 'off';
}

async function failure(
  context: Context,
  { Id, Name }: { Id: string; Name: string },
  console: string,
  what: string,
  running: { screenshot: string | undefined } | undefined,
): Promise<Failure> {
  const { err } = context;
  const lines = console.replace(/\r/g, '').trimEnd().split('\n').slice(-shownLines);
  if (lines.join('') === '') err.line(`isle: ${Name} wrote nothing on its console`);
  else {
    err.line(`isle: the last lines of its console:`);
    for (const line of lines) err.foreign(`  ${line}`);
  }
  const picture = running && (await pictureOf(context, Id, Name, running.screenshot));
  const hints = [
    ...(picture === undefined ? [] : [`its screen is in ${picture}`]),
    running ? `it runs on: isle vm console ${Name}` : `all that it wrote: isle logs ${Name}`,
  ];
  return new Failure(what, { hint: hints.join('; ') });
}

/** Undefined where there is no screen to see. */
async function pictureOf(
  context: Context,
  id: string,
  name: string,
  given: string | undefined,
): Promise<string | undefined> {
  const path = given ?? join(mkdtempSync(join(tmpdir(), 'isle-boot-')), `${name}.png`);
  try {
    await saveStream(context, path, async (signal) => {
      return await context.client.body('GET', `${machinePath(id)}/screenshot`, { signal });
    });
    return path;
  } catch {
    return undefined;
  }
}
