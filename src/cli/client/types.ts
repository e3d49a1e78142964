/** The parts of the Docker API's answers that the command line reads. */

export interface ContainerSummary {
  Id: string;
  Names: string[];
  Image: string;
  ImageID: string;
  Command: string;
  /** Seconds since 1970. */
  Created: number;
  State: string;
  Status: string;
  Ports: PortSummary[] | null;
  Labels: Record<string, string> | null;
  SizeRw?: number;
  SizeRootFs?: number;
  Mounts?: { Name?: string; Source?: string; Type?: string }[] | null;
  HostConfig?: { Annotations?: Record<string, string> | null };
  NetworkSettings?: { Networks?: Record<string, unknown> | null };
}

export interface PortSummary {
  IP?: string;
  PrivatePort: number;
  PublicPort?: number;
  Type: string;
}

export interface ContainerInspect {
  Id: string;
  Name: string;
  Image: string;
  Config: { Tty: boolean; OpenStdin: boolean; AttachStdin?: boolean; Image: string };
  HostConfig: { AutoRemove?: boolean };
  State: { Running: boolean; Paused?: boolean; Restarting?: boolean; ExitCode: number; Status: string };
  NetworkSettings: { Ports?: Record<string, { HostIp: string; HostPort: string }[] | null> | null };
}

export interface ImageSummary {
  Id: string;
  RepoTags: string[] | null;
  RepoDigests: string[] | null;
  /** Seconds since 1970. */
  Created: number;
  Size: number;
  SharedSize?: number;
  Containers?: number;
  Labels: Record<string, string> | null;
}

export interface WaitAnswer {
  StatusCode: number;
  Error?: { Message: string } | null;
}

/** A line of a progress stream. */
export interface ProgressLine {
  status?: string;
  id?: string;
  progressDetail?: { current?: number; total?: number; hidecounts?: boolean } | null;
  stream?: string;
  error?: string;
  errorDetail?: { message?: string; code?: number };
  aux?: unknown;
}

export interface VolumeBody {
  Name: string;
  Driver: string;
  Mountpoint: string;
  CreatedAt?: string;
  Labels: Record<string, string> | null;
  Scope: string;
  Options: Record<string, string> | null;
  UsageData?: { Size: number; RefCount: number } | null;
}

export interface NetworkBody {
  Name: string;
  Id: string;
  Created: string;
  Scope: string;
  Driver: string;
  EnableIPv4?: boolean;
  EnableIPv6: boolean;
  Internal: boolean;
  Labels: Record<string, string> | null;
}

export interface VersionBody {
  Version: string;
  ApiVersion: string;
  MinAPIVersion?: string;
  GitCommit?: string;
  GoVersion?: string;
  Os: string;
  Arch: string;
  KernelVersion?: string;
  BuildTime?: string;
  Components?: { Name: string; Version: string; Details?: Record<string, string> }[];
}

/** A snapshot of a container, of Isle's own API. */
export interface SnapshotBody {
  Name: string;
  CreatedAt: string;
  Comment: string;
  Size: number;
  Inodes: number;
}

/** What a simplestreams server offers, of Isle's own API. */
export interface ServerImageBody {
  Aliases: string[];
  OS: string;
  Release: string;
  Variant: string;
  Architecture: string;
  Version: string;
  Size: number;
}
