/** The parts of `/isle/v1/machines` that the command line reads: docs/isle-api.md. */

/** One of the list. */
export interface MachineSummary {
  Id: string;
  Name: string;
  /** `running`, `paused`, `exited`, … as of containers. */
  State: string;
  /** For people: `Up 5 minutes`. */
  Status: string;
  /** A saved memory waits for its start. */
  Saved: boolean;
  /** bytes */
  Memory: number;
  Vcpus: number;
  Arch: string;
  OsVariant?: string;
  Autostart: boolean;
  Addresses: string[];
}

export interface MachineBody {
  Id: string;
  Name: string;
}
