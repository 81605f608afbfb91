/** Runs many seeds, on several processes. */
import { fork } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { join } from "node:path";
import type { SeedAnswer, SeedRequest } from "./run-seeds.ts";
import { checkoutRoot } from "./source.ts";

/** Which seeds, and how. */
export interface PoolOptions {
  readonly from: number;
  readonly count: number;
  readonly workers: number;
  /** Where the code is that is simulated: the checkout, or a copy of it. */
  readonly root?: string;
  /** Whether the first seed that fails is shortened and told all about. */
  readonly explain?: boolean;
  /** Called with each answer; returns whether to go on. */
  onAnswer?(answer: SeedAnswer): boolean;
}

// A process becomes quick only by and by, as its code is compiled; so it lives long, but not for ever.
const seedsPerWorkerMax = 500;

/** Runs seeds and resolves to the answers, in the order of the seeds. Rejects where a worker breaks down. */
export async function runSeeds(options: PoolOptions): Promise<SeedAnswer[]> {
  const { from, count, root = checkoutRoot, explain = false, onAnswer = () => true } = options;
  const answers: SeedAnswer[] = [];
  let next = from;
  let goOn = true;
  const take = (): SeedRequest | undefined => (goOn && next < from + count ? { seed: next++, explain } : undefined);
  const note = (answer: SeedAnswer) => {
    answers.push(answer);
    goOn = onAnswer(answer) && goOn;
  };
  const isOver = () => !goOn || next >= from + count;
  const runWorkers = async () => {
    while (!isOver()) await runWorker(root, take, note);
  };
  await Promise.all(Array.from({ length: Math.min(options.workers, count) }, runWorkers));
  return answers.toSorted((a, b) => a.seed - b.seed);
}

// A run makes much that is gone soon: with a larger young generation most of it is never copied.
const workerFlags = ["--max-semi-space-size=64"];

function runWorker(
  root: string,
  take: () => SeedRequest | undefined,
  note: (answer: SeedAnswer) => void,
): Promise<void> {
  const worker: ChildProcess = fork(join(import.meta.dirname, "run-seeds.ts"), [root], {
    stdio: ["ignore", "ignore", "pipe", "ipc"],
    execArgv: [...process.execArgv, ...workerFlags],
  });
  let errors = "";
  let sent = 0;
  let seed: number | undefined;
  worker.stderr?.on("data", (text: Buffer) => {
    errors = `${errors}${text.toString()}`.slice(-4000);
  });
  return new Promise((resolve, reject) => {
    worker.on("message", (message: SeedAnswer | "ready") => {
      if (message !== "ready") note(message);
      const request = sent++ < seedsPerWorkerMax ? take() : undefined;
      seed = request?.seed;
      if (request === undefined) worker.disconnect();
      else worker.send(request);
    });
    worker.on("exit", (code, signal) => {
      if (code === 0 && seed === undefined) resolve();
      else reject(new Error(`a worker ended with ${code ?? signal} at seed ${seed}: ${errors}`));
    });
  });
}
