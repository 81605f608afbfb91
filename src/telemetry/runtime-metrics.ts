import { monitorEventLoopDelay, performance } from "node:perf_hooks";
import type { ObservedName, Telemetry } from "../telemetry.ts";

// How often the event loop's delay is sampled, in milliseconds.
const resolutionMs = 20;
const nanosecondsPerSecond = 1e9;

/**
 * Tells of the process: its event loop, processor time and memory. The event loop's figures are those since they were
 * collected last. Ends when what it returns is called.
 */
export function observeRuntime(telemetry: Telemetry): () => void {
  const delay = monitorEventLoopDelay({ resolution: resolutionMs });
  delay.enable();
  let before = performance.eventLoopUtilization();
  // The sampling timer's own period is in what it measures.
  const seconds = (nanoseconds: number) =>
    Number.isFinite(nanoseconds) ? Math.max(0, nanoseconds / nanosecondsPerSecond - resolutionMs / 1000) : 0;
  const observe = (name: ObservedName, read: () => number) => telemetry.observe(name, (report) => report(read()));
  const ends = [
    observe("nodejs.eventloop.delay.mean", () => seconds(delay.mean)),
    observe("nodejs.eventloop.delay.p50", () => seconds(delay.percentile(50))),
    observe("nodejs.eventloop.delay.p99", () => seconds(delay.percentile(99))),
    observe("nodejs.eventloop.delay.max", () => seconds(delay.max)),
    observe("nodejs.eventloop.utilization", () => {
      const now = performance.eventLoopUtilization();
      const { utilization } = performance.eventLoopUtilization(now, before);
      before = now;
      // The last of the loop's figures that is asked for begins them anew.
      delay.reset();
      return utilization;
    }),
    telemetry.observe("process.cpu.time", (report) => {
      const { user, system } = process.cpuUsage();
      report(user / 1e6, { "cpu.mode": "user" });
      report(system / 1e6, { "cpu.mode": "system" });
    }),
    observe("process.memory.usage", () => process.memoryUsage.rss()),
    observe("v8js.memory.heap.used", () => process.memoryUsage().heapUsed),
  ];
  return () => {
    for (const end of ends) end();
    delay.disable();
  };
}
