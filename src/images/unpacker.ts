/** The face of `unpack/`: what turns a layer's blob into a directory, on worker threads. */
export interface Unpacker {
  /**
   * Unpacks the archive at path `blob` into directory `target`; resolves with the digest of the uncompressed
   * archive and the unpacked size in bytes. `onProgress` counts compressed bytes read so far.
   */
  unpack(job: {
    blob: string;
    mediaType: string;
    target: string;
    signal?: AbortSignal;
    onProgress?(current: number): void;
  }): Promise<{ diffId: string; size: number }>;
  close(): Promise<void> | void;
}
