import { VaultError } from "../errors.ts";

/** Variables, as a process has them. */
export type Environment = Readonly<Record<string, string | undefined>>;

/** The values of a variable that may hold several by comma, each once; none where it is not set. */
export function readList(environment: Environment, name: string): Set<string> {
  const named = (environment[name] ?? "").split(",").map((value) => value.trim());
  return new Set(named.filter((value) => value !== ""));
}

/** A variable's number, if it is one above 0. */
export function readNumber(environment: Environment, name: string): number | undefined {
  const value = Number(environment[name]?.trim() || Number.NaN);
  return Number.isFinite(value) && value > 0 ? value : undefined;
}

/** The protocol by which a signal is exported by OTLP: its own variable's, or that of all signals. */
export function readProtocol(environment: Environment, signal: "METRICS" | "TRACES"): string {
  const own = environment[`OTEL_EXPORTER_OTLP_${signal}_PROTOCOL`];
  return (own ?? environment["OTEL_EXPORTER_OTLP_PROTOCOL"] ?? "").trim() || "http/protobuf";
}

/** What is thrown for a protocol that there is not. */
export function unknownProtocol(value: string): VaultError {
  return unknownValue("OTEL_EXPORTER_OTLP_PROTOCOL", value, "grpc, http/protobuf or http/json");
}

/** What is thrown for a value that a variable may not have. `allowed`: those that it may, in words. */
export function unknownValue(name: string, value: string, allowed: string): VaultError {
  return new VaultError("invalid", `${name}: ${JSON.stringify(value)} is not allowed; it must be ${allowed}`);
}
