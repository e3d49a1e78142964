/** Signals that `docker run` forwards and Node can catch; SIGCHLD, SIGPIPE and SIGURG stay ours. */
const forwarded = [
  'SIGHUP',
  'SIGINT',
  'SIGQUIT',
  'SIGTERM',
  'SIGUSR1',
  'SIGUSR2',
  'SIGALRM',
  'SIGCONT',
] as const;

export interface SignalHandlers {
  /** A signal to pass on; undefined: signals act on this process, except Ctrl-C twice. */
  forward: ((signal: NodeJS.Signals) => void) | undefined;
  /** Ctrl-C twice within a second. */
  detach(): void;
  /** The terminal's size changed. */
  resize?: () => void;
}

/** Handles signals until the returned function is called. */
export function handleSignals(handlers: SignalHandlers): () => void {
  let lastInterrupt = Number.NEGATIVE_INFINITY;
  const installed: [NodeJS.Signals, () => void][] = [];
  const on = (signal: NodeJS.Signals, handler: () => void) => {
    process.on(signal, handler);
    installed.push([signal, handler]);
  };
  const { forward, resize } = handlers;
  for (const signal of forwarded) {
    if (!forward && signal !== 'SIGINT') continue;
    on(signal, () => {
      if (signal === 'SIGINT') {
        const now = performance.now();
        if (now - lastInterrupt < 1000 || !forward) return handlers.detach();
        lastInterrupt = now;
      }
      forward?.(signal);
    });
  }
  if (resize) on('SIGWINCH', resize);
  return () => {
    for (const [signal, handler] of installed) process.off(signal, handler);
  };
}
