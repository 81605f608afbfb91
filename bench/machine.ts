import { execFileSync } from "node:child_process";
import { statfsSync, readFileSync } from "node:fs";
import os from "node:os";

/** What the figures were measured on. */
export interface Machine {
  readonly cpu: string;
  readonly cores: number;
  readonly memoryGb: number;
  readonly system: string;
  readonly node: string;
  readonly commit: string;
}

/** This machine. */
export function describeMachine(): Machine {
  return {
    cpu: os.cpus()[0]?.model ?? "unknown",
    cores: os.availableParallelism(),
    memoryGb: Math.round(os.totalmem() / 1e9),
    system: `${os.type()} ${os.release()}`,
    node: process.version,
    commit: readCommit(),
  };
}

// [Linux: TMPFS_MAGIC in linux/magic.h]
const tmpfsType = 0x01021994;

/** Whether files in `directory` are in memory, so that no figure of a disk can come of it. */
export function isInMemory(directory: string): boolean {
  return statfsSync(directory).type === tmpfsType;
}

/** How many bytes may still be stored in `directory`. */
export function readFreeBytes(directory: string): number {
  const { bavail, bsize } = statfsSync(directory);
  return bavail * bsize;
}

// Linux counts in hundredths of a second whatever the kernel's own tick is. [proc_pid_stat(5), USER_HZ]
const ticksPerSecond = 100;

/** Processor time that a process has used, in seconds; undefined where the system does not tell. */
export function readCpuSeconds(pid: number): number | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, "latin1");
    // The name, in brackets, may hold anything; utime and stime are fields 14 and 15, the name is field 2.
    const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
    return (Number(fields[11]) + Number(fields[12])) / ticksPerSecond;
  } catch {
    return undefined;
  }
}

/** What a process has resident, or had at most, in bytes. Needs /proc, so Linux. [proc_pid_status(5)] */
export function readResidentBytes(pid: number, field: "VmRSS" | "VmHWM" = "VmRSS"): number {
  const status = readFileSync(`/proc/${pid}/status`, "latin1");
  return Number(new RegExp(`${field}:\\s+(\\d+) kB`).exec(status)?.[1]) * 1024;
}

function readCommit(): string {
  try {
    return execFileSync("git", ["rev-parse", "--short", "HEAD"], { encoding: "utf8", stdio: "pipe" }).trim();
  } catch {
    return "unknown";
  }
}
