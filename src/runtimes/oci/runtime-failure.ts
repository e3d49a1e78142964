import { type IsleError, isleError } from '../../lib/errors.ts';

/**
 * What the OCI runtime (through conmon) said when it failed, as an error of the catalogue. The texts are crun's
 * and runc's; clients tell 127 from 126 by the words that the catalogue uses.
 */
export function runtimeFailure(tool: string, output: string, command: string): IsleError {
  const message = lastLine(output);
  const cause = new Error(output.trim() || `${tool} ended without a word`);
  if (/executable file (.* )?not found|exec: .*no such file or directory/i.test(message))
    return isleError('commandNotFound', { command }, cause);
  if (/open executable|exec: .*permission denied|exec: .*is a directory/i.test(message))
    return isleError('commandNotExecutable', { command }, cause);
  if (
    /no such file or directory: OCI runtime attempted to invoke a command that was not found/i.test(message)
  )
    return isleError('commandNotFound', { command }, cause);
  const unmapped = /^mount_setattr `(.+?)`: invalid argument/i.exec(message)?.[1];
  if (unmapped !== undefined)
    return isleError(
      'idMapUnsupported',
      { why: `owners cannot be translated on the file system of ${unmapped}: take another source` },
      cause,
    );
  if (badRequest.test(message))
    return isleError('invalidParameter', { message: `${tool}: ${message}` }, cause);
  return isleError('hostTool', { tool, message: message || 'it ended without a word' }, cause);
}

/** Failures that what was asked for explains: a mount, a directory, a device, a limit the kernel refuses. */
const badRequest =
  /^(mount|chdir|mkdir|open|openat2?|creat|mknod|chown|set(rlimit|groups|hostname|domainname)|sysctl|write|writing|cannot set|error mounting|unable to apply|invalid|the sysctl)\b.*(invalid argument|permission denied|not permitted|no such|not a directory|is a directory|too many|out of range|not supported|not namespaced)/i;

/** The last line is the failure: crun's has a time stamp before it, runc's is in logfmt. */
function lastLine(output: string): string {
  const line = output.trim().split('\n').at(-1) ?? '';
  const runc = /\bmsg="((?:[^"\\]|\\.)*)"/.exec(line)?.[1];
  if (runc !== undefined)
    return runc.replace(/\\(.)/g, '$1').replace(/^runc create failed: |^exec failed: /, '');
  return line
    .replace(/^\d{4}-\d\d-\d\dT[\d:.]+Z?:?\s*/, '')
    .replace(/^(\[?conmon[^\]]*\]?:?|error:?)\s*/i, '');
}
