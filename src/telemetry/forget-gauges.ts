import { AggregationTemporality, InstrumentType } from "@opentelemetry/sdk-metrics";
import type { IMetricReader } from "@opentelemetry/sdk-metrics";

/**
 * The same reader, which tells of a gauge only what was told at this collection. As cumulative ones the SDK would tell the
 * last value of whatever is gone for ever: the lag of a subscription that ended, the age of a lease that was lost. No
 * exporter looks at a gauge's temporality.
 */
export function forgetGauges<R extends IMetricReader>(reader: R): R {
  const select = reader.selectAggregationTemporality.bind(reader);
  reader.selectAggregationTemporality = (type) =>
    type === InstrumentType.OBSERVABLE_GAUGE ? AggregationTemporality.DELTA : select(type);
  return reader;
}
