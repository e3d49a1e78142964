import { Failure } from '../failure.ts';
import type { HttpResponse } from './http.ts';
import { readAll } from './lines.ts';

/** The engine refused: its own message, and the HTTP status. */
export class ApiError extends Error {
  readonly status: number;

  constructor(status: number, message: string) {
    super(message);
    this.name = 'ApiError';
    this.status = status;
  }

  /** Reads Docker's error JSON, or whatever text came instead. */
  static async from(response: HttpResponse): Promise<ApiError> {
    const { status } = response;
    const text = (await readAll(response.body)).toString();
    return new ApiError(status, messageIn(text) ?? (text.trim() || `the engine answered ${status}`));
  }
}

function messageIn(text: string): string | undefined {
  try {
    const parsed: unknown = JSON.parse(text);
    if (typeof parsed !== 'object' || parsed === null || !('message' in parsed)) return undefined;
    return typeof parsed.message === 'string' ? parsed.message : undefined;
  } catch {
    return undefined;
  }
}

/** Nobody listens at `address` (or not for this user). */
export function unreachable(address: string, code: string, cause: unknown): Failure {
  if (code === 'EACCES')
    return new Failure(`permission denied at ${address}`, {
      hint: 'run as root, or join the group "isle" and log in again',
      cause,
    });
  return new Failure(`the engine does not run at ${address}`, { hint: 'start it: isle up', cause });
}
