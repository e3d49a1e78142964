import { defineCommand } from '../command.ts';
import type { Context } from '../context.ts';
import { containerPath } from '../each-name.ts';
import { Failure } from '../failure.ts';
import { createFlags, type CreateFlags } from '../vm/create-flags.ts';
import { type CreateRequest, createRequest } from '../vm/create-request.ts';
import { followWork } from '../vm/follow-work.ts';
import { capitalised } from '../vm/wire.ts';

export const command = defineCommand({
  usage: '[OPTIONS] [NAME]',
  about:
    "Makes a virtual machine and starts it. Flags are virt-install's, so that notes made for it still work, and where they are about networks, ports and limits Docker's. Disks are kept in Isle's own store.",
  examples: [
    {
      run: 'vm create deb --image debian-12-generic-amd64.qcow2 --disk size=20 --ssh-key ~/.ssh/id_ed25519.pub',
      does: 'a cloud image, grown to 20 GiB',
    },
    {
      run: 'vm create win --os-variant win11 --memory 8192 --vcpus 4 --cdrom win11.iso',
      does: 'an installation; then: isle vm display win',
    },
    { run: 'vm create web --import web.ova', does: "another hypervisor's export" },
    {
      run: 'vm create --name old --import --disk old.qcow2,bus=sata --boot uefi',
      does: 'a disk that boots by itself',
    },
    {
      run: 'vm create arm --arch aarch64 --image debian-12-generic-arm64.qcow2 -p 2222:22',
      does: 'another processor, emulated',
    },
  ],
  flags: createFlags,
  args: [0, 1],
  async run(context, { args, flags, given }) {
    const name = nameOf(args[0], flags.name);
    if (flags.import !== undefined && flags.import !== '') {
      refuseHardware(given);
      return await bringIn(context, flags.import, name, flags);
    }
    if (flags.import === '' && flags.disk.length === 0 && !flags.image)
      throw new Failure(
        '--import boots what is on a disk: say --disk path=FILE, or --import FILE for an export',
      );
    const request = createRequest(flags, name);
    const body = {
      ...request.body,
      Hardware: capitalised(request.body.Hardware),
      Disks: capitalised(request.body.Disks),
    };
    if (flags['dry-run']) {
      context.out.line(JSON.stringify(body, null, 2));
      return 0;
    }
    const made = await followWork<{ Id: string; Warnings: string[] }>(
      context,
      'POST',
      '/isle/v1/machines',
      { query: { stream: true }, body },
      { quiet: flags.quiet, cancelled: 'cancelled; no machine was made' },
    );
    return await conclude(context, flags, made, request);
  },
});

function nameOf(positional: string | undefined, flag: string | undefined): string | undefined {
  if (positional !== undefined && flag !== undefined && positional !== flag)
    throw new Failure(`the name is said twice: ${positional} and --name ${flag}`);
  return positional ?? flag;
}

/** Flags that go with an export, which brings its hardware along. */
const withExport = new Set([
  ...[
    'import',
    'name',
    'quiet',
    'no-start',
    'autoconsole',
    'noautoconsole',
    'wait',
    'connect',
    'check',
    'debug',
  ],
]);

function refuseHardware(given: ReadonlySet<string>): void {
  const wrong = [...given].find((name) => !withExport.has(name));
  if (wrong !== undefined)
    throw new Failure(`--${wrong} does not go with --import FILE, which brings its hardware along`, {
      hint: 'change it afterwards: --no-start, then isle vm edit',
    });
}

/** What `isle vm import` does. */
async function bringIn(
  context: Context,
  file: string,
  name: string | undefined,
  flags: CreateFlags,
): Promise<number> {
  const { importAppliance } = await import('../vm/import-appliance.ts');
  const made = await importAppliance(context, file, { name, quiet: flags.quiet });
  return await conclude(context, flags, made, { notes: [] });
}

async function conclude(
  context: Context,
  flags: CreateFlags,
  { Id, Warnings }: { Id: string; Warnings: string[] },
  { notes, rootPassword }: Pick<CreateRequest, 'notes' | 'rootPassword'>,
): Promise<number> {
  const { client, out, err } = context;
  if (!flags.quiet) for (const note of notes) err.foreign(`note: ${note}`);
  for (const warning of Warnings) err.foreign(`isle: ${err.paint.yellow('warning')}: ${warning}`);
  // Said even when quiet: nobody can know it otherwise.
  if (rootPassword !== undefined) err.line(`root's password: ${rootPassword}`);
  const { Name } = await client.get<{ Name: string }>(`/isle/v1/machines/${Id}`);
  if (!flags['no-start']) await startMade(context, Id, Name);
  if (flags.autoconsole === 'text' && !flags['no-start']) {
    const { openConsole } = await import('../vm/console.ts');
    return await openConsole(context, Name, { stdin: true, tail: 100 });
  }
  out.line(Name);
  return 0;
}

async function startMade({ client }: Context, id: string, name: string): Promise<void> {
  try {
    await client.status('POST', `${containerPath(id)}/start`);
  } catch (cause) {
    throw new Failure(
      `${name} was made, but did not start: ${cause instanceof Error ? cause.message : String(cause)}`,
      {
        hint: `isle vm start ${name} tries again, isle vm remove ${name} removes it`,
        cause,
      },
    );
  }
}
