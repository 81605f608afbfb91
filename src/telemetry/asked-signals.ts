/** Which signals an environment asks for. */
export interface AskedSignals {
  readonly metrics: boolean;
  readonly traces: boolean;
}

/**
 * Reads which signals the standard variables ask for: one whose exporter is named (and is not `none`), or that has an
 * endpoint to go to. OTEL_SDK_DISABLED turns all off. Nothing is exported to where nobody asked for it, so that
 * without any of them OpenTelemetry need not be loaded.
 */
export function readAskedSignals(environment: Readonly<Record<string, string | undefined>>): AskedSignals {
  const valueOf = (name: string) => environment[name]?.trim() ?? "";
  if (valueOf("OTEL_SDK_DISABLED").toLowerCase() === "true") return { metrics: false, traces: false };
  const isAsked = (signal: "METRICS" | "TRACES") => {
    const exporter = valueOf(`OTEL_${signal}_EXPORTER`);
    if (exporter !== "") return exporter !== "none";
    return valueOf("OTEL_EXPORTER_OTLP_ENDPOINT") !== "" || valueOf(`OTEL_EXPORTER_OTLP_${signal}_ENDPOINT`) !== "";
  };
  return { metrics: isAsked("METRICS"), traces: isAsked("TRACES") };
}

/** Whether the environment says that all of telemetry is off. */
export function isDisabled(environment: Readonly<Record<string, string | undefined>>): boolean {
  return environment["OTEL_SDK_DISABLED"]?.trim().toLowerCase() === "true";
}
