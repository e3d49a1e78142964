/**
 * The catalogue of everything that can go wrong in a way a user should hear about.
 *
 * Each entry is `[HTTP status, message template]`. A message says what was wrong, with which value, and what
 * to do next. The HTTP edge turns it into Docker's error JSON, the command line into a line and an exit code;
 * nothing in between formats text. Sections are rooms of the house: keep an entry in its own room's section.
 */
export const catalogue = {
  // --- general
  invalidParameter: [400, '{message}'],
  conflict: [409, '{message}'],
  internal: [500, '{message}'],
  notImplemented: [501, '{what} is not supported by Isle'],
  unavailable: [503, '{message}'],

  // --- api
  pageNotFound: [404, 'page not found'],
  forbidden: [403, '{message}'],
  bodyTooLarge: [413, 'the request body is larger than {limit} bytes'],

  // --- engine: containers, exec, volumes, events
  noSuchContainer: [404, 'No such container: {id}'],
  ambiguousId: [400, 'multiple {kind}s match the id prefix "{id}": give more characters of the id'],
  nameInUse: [
    409,
    'Conflict. The container name "/{name}" is already in use by container "{id}". You have to remove (or rename) that container to be able to reuse that name.',
  ],
  invalidName: [
    400,
    'Invalid {kind} name ({name}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed, at least two characters and at most 255',
  ],

  imagePlatform: [
    404,
    'image with reference {ref} was found but its platform ({has}) does not match the specified platform ({wanted})',
  ],
  readOnlyPath: [403, '{what} is marked read-only'],
  noSuchExec: [404, 'No such exec instance: {id}'],
  notRunning: [409, 'container {id} is not running'],
  newerDatabase: [
    500,
    'the database {path} has schema version {version}, this Isle knows up to {known}: it was written by a newer Isle. Start that one, or give another --data-root',
  ],
  dataRootInUse: [
    500,
    'the data root {path} is in use by another Isle daemon (process {pid}): stop that one, or give another --data-root',
  ],
  invalidConfig: [400, '{file}: {message}'],

  // --- engine: virtual machines
  noSuchMachine: [404, 'No such virtual machine: {id}{hint}'],
  noSuchMachineSnapshot: [
    404,
    'the machine "{id}" has no snapshot "{name}": see "isle vm snapshot-list {id}"',
  ],
  notForMachines: [409, 'cannot {what} "{name}": it is a virtual machine, {why}'],

  // --- images
  noSuchImage: [404, 'No such image: {ref}'],
  invalidLayer: [500, 'failed to register layer: {why}'],
  invalidArchive: [400, 'the archive cannot be used: {why}'],
  invalidAppliance: [400, 'this virtual machine cannot be imported: {where}: {why}'],
  noSuchBlob: [404, 'blob {digest} is not in the content store: pull or load its image again'],
  blobMismatch: [500, 'blob {digest} failed verification: {why}'],
  blobCorrupt: [
    500,
    'blob {digest} was damaged on disk ({why}); it has been set aside as {aside}: pull its image again to replace it',
  ],
  invalidReference: [400, 'invalid reference format: "{ref}": {why}'],
  invalidManifest: [400, 'refused the manifest {digest}: {why}'],
  invalidImageConfig: [400, 'refused the image configuration {digest}: {why}'],
  manifestUnknown: [404, 'manifest for {ref} not found: {reason}'],
  pullDenied: [
    404,
    "pull access denied for {repository}, repository does not exist or may require 'docker login': {reason}",
  ],
  pushDenied: [403, 'push access denied for {repository}: {reason}'],
  noMatchingPlatform: [
    404,
    'no matching manifest for {wanted} in the manifest list entries of {ref}: it has {available}',
  ],
  platformMismatch: [
    404,
    'image with reference {ref} was found but does not match the specified platform: wanted {wanted}, actual: {actual}',
  ],
  digestMismatch: [
    500,
    '{what}: expected {expected}, but the content is {actual}: it was damaged or tampered with',
  ],
  registryUnauthorized: [401, 'registry {host}: unauthorized: {reason}'],
  registryUnreachable: [500, 'cannot reach registry {host}: {reason}'],
  registryRateLimited: [429, 'registry {host}: too many requests: {reason}'],
  registryAnswer: [500, 'registry {host} answered {what}'],
  noSuchRemoteImage: [404, 'server {host} has no image {name}{hint}'],
  blobUnknown: [404, 'registry {host} does not have {digest}'],

  // --- network
  noSuchNetwork: [404, 'network {id} not found'],
  portInUse: [
    500,
    'driver failed programming external connectivity: Bind for {address} failed: port is already allocated ({owner})',
  ],

  portUnavailable: [500, 'driver failed programming external connectivity: Bind for {address} failed: {why}'],

  // --- storage
  diskFull: [
    500,
    'no space left on the disk that holds {path} while {what}: free some space (for example with "docker system prune") and try again',
  ],
  noSuchPath: [404, 'Could not find the file {path} in container {container}'],
  missingLayer: [500, 'layer {chainId} is not on this host: pull or load its image again'],
  noSuchSnapshot: [404, 'there is no root file system for container {id}: it was removed or never made'],
  damagedBackup: [500, 'the backup is damaged: {file}: {why}'],
  noSuchBackup: [404, 'there is no backup "{id}" in {path}: see "isle vm backup-list {path}"'],
  noSuchSaved: [404, 'container {id} has no snapshot "{name}": see "isle snapshot ls"'],
  savedNameInUse: [409, 'container {id} has a snapshot "{name}" already: remove it or take another name'],
  noSuchDisk: [404, 'there is no disk {id}: see "isle vm vol-list"'],
  noSuchDiskSnapshot: [404, 'disk {id} has no snapshot "{name}"'],
  invalidDisk: [400, 'the disk image cannot be used: {why}'],
  noSuchVolume: [404, 'get {name}: no such volume'],
  idMapUnsupported: [
    400,
    'a container cannot have a user namespace of its own on this host: {why}; or run it with --userns=host',
  ],

  // --- runtimes
  commandNotFound: [
    400,
    'failed to create task for container: exec: "{command}": executable file not found in $PATH',
  ],
  noInit: [
    400,
    'the image has no init at {path}, so it cannot boot as a system: use an image with one (isle image import images:debian/12 fetches one; in an image of your own, Debian has it in the package systemd-sysv), name a command to run instead, or leave out --runtime system',
  ],
  commandNotExecutable: [400, 'failed to create task for container: exec: "{command}": permission denied'],

  guestUnresponsive: [
    500,
    'the virtual machine does not answer ({what}: nothing for {waited} ms): its guest hangs or has too little CPU or memory. See the last lines of its console, or stop it',
  ],
  guestAgentMissing: [
    409,
    'no guest agent runs in the virtual machine: install qemu-guest-agent in it and start it (apt-get install qemu-guest-agent, dnf install qemu-guest-agent; for Windows it is on the virtio-win CD)',
  ],
  guestGone: [500, 'the connection to the virtual machine ended ({what}): it is stopping, or was killed'],
  guestBroken: [
    500,
    'the virtual machine sent what no sound guest sends ({why}): its guest may be compromised',
  ],
  guestFailed: [500, 'the virtual machine could not {what}: {detail}'],
  guestBoot: [500, 'the virtual machine did not start: {why}'],
  guestKernel: [500, 'the guest kernel in {source} cannot be used: {why}'],

  // --- host
  hostTool: [500, '{tool} failed: {message}'],
} as const satisfies Record<string, readonly [number, string]>;

export type ErrorCode = keyof typeof catalogue;

type Placeholders<T extends string> = T extends `${string}{${infer P}}${infer Rest}`
  ? P | Placeholders<Rest>
  : never;

/** The values a message template needs. */
export type ErrorParams<C extends ErrorCode> = Record<
  Placeholders<(typeof catalogue)[C][1]>,
  string | number
>;

/** An error with a catalogue code; `status` is the HTTP status it becomes at the edge. */
export class IsleError extends Error {
  readonly code: ErrorCode;
  readonly status: number;

  constructor(code: ErrorCode, status: number, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.name = 'IsleError';
    this.code = code;
    this.status = status;
  }
}

/** Makes (does not throw) the catalogue's error `code` with its template filled in. */
export function isleError<C extends ErrorCode>(code: C, params: ErrorParams<C>, cause?: unknown): IsleError {
  const [status, template] = catalogue[code];
  const values: Record<string, string | number> = params;
  const message = template.replace(/\{(\w+)\}/g, (_, key: string) => String(values[key]));
  return new IsleError(code, status, message, cause);
}

/** True when `error` is an {@link IsleError} with one of `codes` (or any, when none is given). */
export function isIsleError(error: unknown, ...codes: ErrorCode[]): error is IsleError {
  return error instanceof IsleError && (codes.length === 0 || codes.includes(error.code));
}

/** What went wrong first, where undoing it failed too (`await using` then throws both as one SuppressedError). */
export function originalOf(error: unknown): unknown {
  let first = error;
  while (first instanceof SuppressedError) first = first.suppressed;
  return first;
}

/** The message of anything thrown, for wrapping as a cause or logging. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** The `code` of a system error (`ENOENT`, …), or undefined. */
export function errnoOf(error: unknown): string | undefined {
  if (error instanceof Error && 'code' in error && typeof error.code === 'string') return error.code;
  return undefined;
}
