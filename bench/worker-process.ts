import { fork } from "node:child_process";
import { fileURLToPath } from "node:url";

/** A process of the bench's own that does one thing at a time: a load generator or a limit. */
export interface WorkerProcess extends AsyncDisposable {
  readonly pid: number;
  /** Has the worker run one of its commands. Rejects with the worker's error, or if it ends meanwhile. */
  call<T>(command: string, args?: object): Promise<T>;
}

/** What goes to a worker, and what comes back. */
export interface WorkerRequest {
  readonly command: string;
  readonly args: object;
}

/** A worker's answer: one of the two. */
export interface WorkerAnswer {
  readonly result?: unknown;
  readonly error?: string;
}

/** Starts `workers/NAME.ts`. It ends with its disposal, or with this process. */
export function startWorker(name: string): WorkerProcess {
  const file = fileURLToPath(new URL(`workers/${name}.ts`, import.meta.url));
  // Nothing but results may stand on the standard output.
  const child = fork(file, [], { serialization: "advanced", stdio: ["ignore", 2, 2, "ipc"] });
  const exited = new Promise<void>((resolve) => child.once("exit", () => resolve()));
  return {
    pid: child.pid ?? 0,
    async call<T>(command: string, args: object = {}): Promise<T> {
      const answered = new Promise<WorkerAnswer>((resolve) => child.once("message", resolve));
      if (child.connected) child.send({ command, args } satisfies WorkerRequest);
      const answer = await Promise.race([answered, exited]);
      if (answer === undefined) throw new Error(`${name} ended during ${command}`);
      if (answer.error !== undefined) throw new Error(`${name}, ${command}: ${answer.error}`);
      return answer.result as T;
    },
    async [Symbol.asyncDispose]() {
      child.kill();
      await exited;
    },
  };
}
