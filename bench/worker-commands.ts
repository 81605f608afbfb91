import type { WorkerAnswer, WorkerRequest } from "./worker-process.ts";

/** What a worker can be told to do: by name, with arguments that the caller and the worker agree on. */
export type WorkerCommands = Readonly<Record<string, (args: never) => unknown>>;

/** Runs the commands that the parent process sends, and ends with it. */
export function serveCommands(commands: WorkerCommands): void {
  process.on("message", (request: WorkerRequest) => void answer(commands, request));
  process.on("disconnect", () => process.exit());
}

async function answer(commands: WorkerCommands, { command, args }: WorkerRequest): Promise<void> {
  let message: WorkerAnswer;
  try {
    const run = commands[command];
    if (run === undefined) throw new Error("there is no such command");
    message = { result: await run(args as never) };
  } catch (error) {
    message = { error: error instanceof Error ? (error.stack ?? error.message) : String(error) };
  }
  process.send?.(message);
}
