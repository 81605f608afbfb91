/**
 * One thing that many ask for, done once for all who ask meanwhile.
 *
 * Invariants: at most one run is under way, and at most one more is waited for; who asks gets the outcome of a run that
 * began after the question, so that what it finds is no older than that.
 */
export class SharedRun {
  private readonly run: () => Promise<void>;
  private current: Promise<void> | undefined;
  private next: Promise<void> | undefined;

  constructor(run: () => Promise<void>) {
    this.run = run;
  }

  /** Resolves, or rejects, as a run does that begins now or later. */
  ask(): Promise<void> {
    if (this.next !== undefined) return this.next;
    if (this.current === undefined) return this.start();
    this.next = this.current
      .catch(() => undefined)
      .then(() => {
        this.next = undefined;
        return this.start();
      });
    return this.next;
  }

  private start(): Promise<void> {
    this.current = this.run().finally(() => {
      this.current = undefined;
    });
    return this.current;
  }
}
