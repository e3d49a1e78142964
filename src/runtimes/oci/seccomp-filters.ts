import { createHash } from 'node:crypto';
import { copyFile, mkdir, readFile, rename, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { errnoOf } from '../../lib/errors.ts';
import type { OciSeccomp, OciSpec } from './spec-types.ts';

/** crun takes a compiled program from this annotation instead of compiling `linux.seccomp` (seccomp.c). */
const annotation = 'run.oci.seccomp_bpf_data';

/** What `linux.seccomp` says beside the annotation: a runtime that ignored it could not run anything at all. */
const denyAll: OciSeccomp = { defaultAction: 'SCMP_ACT_ERRNO', syscalls: [] };

/**
 * Keeps compiled seccomp filters: libseccomp takes longer to compile Docker's profile (13 ms) than all the rest
 * of a start. The first container with a profile compiles it; crun leaves the program in its state directory.
 */
export class SeccompFilters {
  #directory: string;
  /** The OCI runtime's version and file: another one may compile differently. */
  #runtime: string;
  #known = new Map<string, string>();
  /** The host's profiles are the same objects again and again. */
  #keys = new WeakMap<OciSeccomp, string>();

  static async open(directory: string, runtimePath: string): Promise<SeccompFilters> {
    await mkdir(directory, { recursive: true, mode: 0o700 });
    const { size, mtimeMs } = await stat(runtimePath);
    return new SeccompFilters(directory, `${runtimePath} ${size} ${mtimeMs}`);
  }

  private constructor(directory: string, runtime: string) {
    this.#directory = directory;
    this.#runtime = runtime;
  }

  /**
   * Puts the compiled filter into `spec` when there is one. Returns otherwise what to call once the container is
   * created, with the directory of its state, to keep the filter it compiled.
   */
  async apply(spec: OciSpec): Promise<((state: string) => Promise<void>) | undefined> {
    const seccomp = spec.linux.seccomp;
    // Flags are read from `linux.seccomp` also when a process is executed: leave such a profile as it is.
    if (!seccomp || seccomp.flags?.length) return undefined;
    const key = this.#key(seccomp);
    const program = this.#known.get(key) ?? (await this.#load(key));
    if (program === undefined) return async (state) => await this.#keep(key, state);
    spec.annotations[annotation] = program;
    spec.linux.seccomp = denyAll;
    return undefined;
  }

  #key(seccomp: OciSeccomp): string {
    const known = this.#keys.get(seccomp);
    if (known !== undefined) return known;
    const key = createHash('sha256').update(this.#runtime).update(JSON.stringify(seccomp)).digest('hex');
    this.#keys.set(seccomp, key);
    return key;
  }

  async #load(key: string): Promise<string | undefined> {
    try {
      const program = await readFile(join(this.#directory, key));
      // A whole number of sock_filter structures.
      if (program.length === 0 || program.length % 8 !== 0) return undefined;
      const text = program.toString('base64');
      if (this.#known.size < 64) this.#known.set(key, text);
      return text;
    } catch (error) {
      if (errnoOf(error) === 'ENOENT') return undefined;
      throw error;
    }
  }

  async #keep(key: string, state: string): Promise<void> {
    const path = join(this.#directory, key);
    const draft = `${path}.${process.pid}`;
    try {
      await copyFile(join(state, 'seccomp.bpf'), draft);
      await rename(draft, path);
    } catch (error) {
      // The container has been deleted meanwhile: the next one compiles.
      if (errnoOf(error) !== 'ENOENT') throw error;
    }
  }
}
