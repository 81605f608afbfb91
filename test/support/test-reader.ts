import { MetricReader } from "@opentelemetry/sdk-metrics";

/** A reader of metrics that collects only when it is asked to. */
export class TestReader extends MetricReader {
  protected async onForceFlush() {}
  protected async onShutdown() {}
}
