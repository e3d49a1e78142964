/** What the routes need to know of the daemon besides the engine. */
export interface ApiConfig {
  /** Isle's version. */
  version: string;
  dataRoot: string;
}
