import test from "ava";
import { toRoutedRecord } from "../../src/cli/publish-json.ts";
import type { JsonFields } from "../../src/cli/publish-json.ts";

const none: JsonFields = {
  streamField: undefined,
  keyField: undefined,
  valueField: undefined,
  headerFields: [],
  timeField: undefined,
};

test("json line - fields become stream, key, headers, value and event time", (t) => {
  const line = Buffer.from('{"kind":"order","user":{"id":7},"tags":["a","b"],"at":1700000000,"body":{"x":1}}');
  const fields = {
    streamField: "kind",
    keyField: "user.id",
    valueField: "body",
    headerFields: ["tags"],
    timeField: "at",
  };
  t.deepEqual(toRoutedRecord(line, 1, fields, undefined), {
    stream: "order",
    record: {
      key: "7",
      value: '{"x":1}',
      headers: [
        { name: "tags", value: "a" },
        { name: "tags", value: "b" },
      ],
      eventTime: 1_700_000_000_000,
    },
  });
});

test("json line - without fields the whole line is the value", (t) => {
  const line = Buffer.from('{ "a": 1 }');
  const { stream, record } = toRoutedRecord(line, 1, none, "s");
  t.is(stream, "s");
  t.is(record.value, line);
});

test("json line - event times may be seconds, milliseconds or RFC 3339", (t) => {
  const time = (at: string) =>
    toRoutedRecord(Buffer.from(`{"at":${at}}`), 1, { ...none, timeField: "at" }, "s").record.eventTime;
  t.is(time("1700000000.5"), 1_700_000_000_500);
  t.is(time("1700000000500"), 1_700_000_000_500);
  t.is(time('"2023-11-14T22:13:20.500Z"'), 1_700_000_000_500);
  t.throws(() => time('"yesterday"'), { message: /line 1 .* at / });
});

test("json line - what is missing is named with its line", (t) => {
  t.throws(() => toRoutedRecord(Buffer.from("{}"), 3, { ...none, streamField: "kind" }, undefined), {
    message: /line 3 .* no field kind/,
  });
  t.throws(() => toRoutedRecord(Buffer.from("{}"), 4, none, undefined), { message: /line 4 .* no stream/ });
  t.throws(() => toRoutedRecord(Buffer.from("[1]"), 5, none, "s"), { message: /line 5 .* no JSON object/ });
  t.throws(() => toRoutedRecord(Buffer.from("oops"), 6, none, "s"), { message: /line 6 .* no JSON: / });
});
