/**
 * Node keeps every signal of `AbortSignal.any` that somebody listens to until one of its sources is aborted. Those of a
 * process that crashed in a simulation never are, and each of them holds on to all of its run: some 3 MB a run, which
 * the collector would look through again and again.
 */

/** The composite signals of this process. */
export interface CompositeSignals {
  /** Takes all that listens to them away, without calling it: for what is over. */
  forget(): void;
}

type Listener = Parameters<AbortSignal["addEventListener"]>[1];

/** Notes from now on who listens to composite signals, in the whole process. */
export function watchCompositeSignals(): CompositeSignals {
  const any = AbortSignal.any.bind(AbortSignal);
  const heard = new Map<AbortSignal, Set<Listener>>();

  AbortSignal.any = (sources) => {
    const signal = any(sources);
    const listeners = new Set<Listener>();
    const add = signal.addEventListener.bind(signal);
    const remove = signal.removeEventListener.bind(signal);
    signal.addEventListener = (type: string, listener: Listener, options?: boolean | AddEventListenerOptions) => {
      listeners.add(listener);
      heard.set(signal, listeners);
      add(type, listener, options);
    };
    signal.removeEventListener = (type: string, listener: Listener) => {
      listeners.delete(listener);
      if (listeners.size === 0) heard.delete(signal);
      remove(type, listener);
    };
    return signal;
  };

  return {
    forget() {
      for (const [signal, listeners] of heard) {
        for (const listener of listeners) signal.removeEventListener("abort", listener);
      }
    },
  };
}
