/** How registries are reached; a part of the daemon's configuration. */
export interface RegistryConfig {
  /** Base URLs to try for pulls before the registry itself, by registry host (`docker.io`). */
  mirrors: Record<string, string[]>;
  /** `host`, `host:port` or a CIDR of registries that may be reached over HTTP or with a certificate nobody vouches for. */
  insecureRegistries: string[];
  /** Paths of PEM files with authorities to trust, by registry host. */
  certificateAuthorities: Record<string, string>;
  maxConcurrentDownloads: number;
  /** Base URLs of simplestreams servers by the name they are called by. */
  remotes?: Record<string, string>;
  /** Directories with `<host>/*.crt` (authorities) and `<host>/*.cert` + `*.key` (client certificates), as Docker has them. */
  certificateDirectories?: string[];
  /** The environment whose HTTP_PROXY, HTTPS_PROXY and NO_PROXY count. */
  environment?: NodeJS.ProcessEnv;
  timeouts?: Partial<RegistryTimeouts>;
  uploads?: Partial<UploadSizes>;
}

/** Bytes. */
export interface UploadSizes {
  /** Blobs up to this size go in one PUT. */
  monolithic: number;
  /** Larger ones go in chunks of this size. */
  chunk: number;
}

export const defaultUploads: UploadSizes = { monolithic: 4 * 1024 * 1024, chunk: 64 * 1024 * 1024 };

/** Milliseconds, and bytes that must come per `stall`. */
export interface RegistryTimeouts {
  /** Until the connection stands, TLS included. */
  connect: number;
  /** From the end of the request until the answer's headers are complete. */
  headers: number;
  /** A body that brings fewer than `minBytes` in this time is given up. */
  stall: number;
  minBytes: number;
  /** First delay of a retry; it doubles. */
  retryDelay: number;
  /** The longest Retry-After that is honoured by waiting. */
  maxRetryAfter: number;
}

export const defaultTimeouts: RegistryTimeouts = {
  connect: 15_000,
  headers: 60_000,
  stall: 30_000,
  minBytes: 1024,
  retryDelay: 500,
  maxRetryAfter: 60_000,
};

export const defaultCertificateDirectories = ['/etc/isle/certs.d', '/etc/docker/certs.d'];
