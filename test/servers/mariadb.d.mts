/** A server of its own, for settings that the server of the run does not have. */
export function start(settings?: Record<string, string | number | boolean>): Promise<{
  readonly url: string;
  readonly version: string;
  stop(): Promise<void>;
}>;
