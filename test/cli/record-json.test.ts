import { create, equals, fromBinary, toBinary } from "@bufbuild/protobuf";
import test from "ava";
import { fromRecordLine, readOffset, toRecordLine } from "../../src/cli/record-json.ts";
import { isKind } from "../../src/errors.ts";
import { RecordSchema } from "../../gen/messagevault/v1/record_pb.ts";
import { createRandom } from "../support/create-clock.ts";
import { randomRecords } from "../support/random-records.ts";

const parse = (line: string) => fromRecordLine(Buffer.from(line), "line 1");

test("record as JSON - a line is as it is documented", (t) => {
  const record = create(RecordSchema, {
    offset: 9007199254740993n,
    timestamp: { seconds: 1_764_000_000n, nanos: 5_000_000 },
    key: Buffer.from("größe"),
    value: Buffer.from([0xff, 0]),
    headers: [
      { name: "b", value: Buffer.from("1") },
      { name: "a", value: Buffer.from([0x80]) },
      { name: "b", value: Buffer.from("") },
    ],
    eventTime: { seconds: -1n, nanos: 123_456_789 },
  });
  const line =
    '{"offset":"9007199254740993","timestamp":"2025-11-24T16:00:00.005Z","key":"größe","value_base64":"/wA=",' +
    '"headers":[{"name":"b","value":"1"},{"name":"a","value_base64":"gA=="},{"name":"b","value":""}],' +
    '"event_time":"1969-12-31T23:59:59.123456789Z"}\n';
  const bytes = toBinary(RecordSchema, record);
  t.is(toRecordLine(bytes), line);
  t.deepEqual(parse(line), Buffer.from(bytes));
  t.is(readOffset(bytes), 9007199254740993n);
});

test("record as JSON - what is absent stays absent, and a null is as good", (t) => {
  t.is(toRecordLine(Buffer.alloc(0)), '{"offset":"0","value":""}\n');
  t.is(parse('{"key":null,"value":null,"headers":null,"event_time":null}').length, 0);
  t.deepEqual(fromBinary(RecordSchema, parse('{"value":"x"}')).key.length, 0);
});

test("record as JSON - random records come back as they were", (t) => {
  const random = createRandom(71);
  for (const init of Array.from({ length: 40 }, () => randomRecords(random, 20)).flat()) {
    const record = create(RecordSchema, { ...init, offset: BigInt(Math.floor(random() * 2 ** 50)) });
    const line = toRecordLine(toBinary(RecordSchema, record));
    const back = fromRecordLine(Buffer.from(line), "line 1");
    if (!equals(RecordSchema, fromBinary(RecordSchema, back), record)) t.is(line, "", "another record came back");
    t.is(toRecordLine(back), line);
  }
});

test("record as JSON - the ends of time and of offsets, and a field that only a newer version knows, survive", (t) => {
  for (const time of ["0001-01-01T00:00:00.000Z", "9999-12-31T23:59:59.999999999Z", "1970-01-01T00:00:00.000Z"]) {
    const line = `{"offset":"18446744073709551615","timestamp":"${time}","value":"","event_time":"${time}"}\n`;
    t.is(toRecordLine(parse(line)), line);
  }
  const newer = Buffer.concat([
    toBinary(RecordSchema, create(RecordSchema, { value: Buffer.from("x") })),
    Buffer.from([0xa2, 1, 1, 7]),
  ]);
  t.is(toRecordLine(newer), '{"offset":"0","value":"x","more_base64":"ogEBBw=="}\n');
  t.deepEqual(fromRecordLine(Buffer.from(toRecordLine(newer)), "").subarray(-4), newer.subarray(-4));
});

const refused: Readonly<Record<string, readonly [line: string | Buffer, says: RegExp]>> = {
  "what is no JSON": ["{", /line 1 is no JSON/],
  "what is no object": ["[]", /no JSON object/],
  "what is no UTF-8": [Buffer.from('{"value":"\xff"}', "latin1"), /no UTF-8/],
  "a field that no record has": ['{"valeu":"x"}', /has a field valeu/],
  "a value that is no text": ['{"value":{"a":1}}', /value that is no text/],
  "half a character": ['{"value":"\\ud800"}', /half a character/],
  "a value in both forms": ['{"value":"x","value_base64":"eA=="}', /both value and value_base64/],
  "base64 that is none": ['{"value_base64":"e*=="}', /value_base64 that is no base64/],
  "a time that is none": ['{"event_time":"yesterday"}', /event_time that is no RFC 3339/],
  "an offset that is none": ['{"offset":-1}', /offset that is none/],
  "headers that are no list": ['{"headers":{"a":"b"}}', /headers that are no list/],
  "a header without a name": ['{"headers":[{"value":"b"}]}', /header without a name/],
  "a header with another field": ['{"headers":[{"name":"a","key":"b"}]}', /header with a field key/],
};

for (const [what, [line, says]] of Object.entries(refused)) {
  test(`record as JSON - ${what} is refused`, (t) => {
    const error = t.throws(() => fromRecordLine(Buffer.from(line), "line 1"));
    t.true(isKind(error, "invalid"));
    t.regex(error?.message ?? "", says);
  });
}
