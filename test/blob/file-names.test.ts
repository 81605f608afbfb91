import test from "ava";
import { decodeComponent, encodeName } from "../../src/blob/file-names.ts";
import { createRandom } from "../support/create-clock.ts";

test("file names - golden forms", (t) => {
  t.is(encodeName("streams/orders/stream.json"), "streams/orders/stream.json");
  t.is(encodeName("Foo.Bar"), "foo.bar~88");
  t.is(encodeName("A"), "a~8");
  t.is(encodeName("abcD"), "abcd~1");
  t.is(encodeName("abcdE"), "abcde~08");
  t.is(encodeName("ABCDEF"), "abcdef~fc");
  t.is(encodeName("x/Y/z"), "x/y~8/z");
  t.is(encodeName("con"), "con~");
  t.is(encodeName("Nul.json"), "nul.json~8");
  t.is(encodeName("console"), "console");
});

test("file names - any component comes back, in lower case, short enough, and no other form is taken", (t) => {
  const random = createRandom(1);
  const alphabet = "abcXYZ019._-";
  for (let round = 0; round < 2000; round += 1) {
    const length = 1 + Math.floor(random() * 160);
    const component = Array.from({ length }, () => alphabet[Math.floor(random() * alphabet.length)]).join("");
    const stored = encodeName(component);
    t.is(stored, stored.toLowerCase());
    t.true(stored.length < 255);
    t.is(decodeComponent(stored), component);
  }
  for (const foreign of ["~tmp", "~lock.db", "a~", "a~0", "a~80", "a~4", "a~f", "A", "a b", "a~8~8", ""]) {
    t.is(decodeComponent(foreign), undefined, foreign);
  }
});
