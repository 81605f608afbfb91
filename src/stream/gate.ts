/**
 * Lets a limited number of actions go on at once; the others wait in line.
 *
 * Invariant: `underWay` counts the actions that go on, and those in line whose turn has come.
 */
export class Gate {
  private readonly actionsMax: number;
  private readonly line: (() => void)[] = [];
  private underWay = 0;

  constructor(actionsMax: number) {
    this.actionsMax = actionsMax;
  }

  /** Runs `action` when its turn has come. */
  async run<T>(action: () => Promise<T>): Promise<T> {
    if (this.underWay >= this.actionsMax) await new Promise<void>((resolve) => this.line.push(resolve));
    else this.underWay++;
    try {
      return await action();
    } finally {
      const next = this.line.shift();
      if (next === undefined) this.underWay--;
      else next();
    }
  }
}
