import test from "ava";
import { watchCompositeSignals } from "./composite-signals.ts";

test("composite signals - what listens to them - is called as ever, and never when it was forgotten", (t) => {
  const signals = watchCompositeSignals();
  const heard: string[] = [];
  const listen = (name: string) => {
    const source = new AbortController();
    const signal = AbortSignal.any([source.signal, new AbortController().signal]);
    const listener = () => void heard.push(name);
    signal.addEventListener("abort", listener, { once: true });
    return { source, signal, listener };
  };
  listen("aborted").source.abort();
  const left = listen("removed");
  left.signal.removeEventListener("abort", left.listener);
  left.source.abort();
  const over = listen("forgotten");
  signals.forget();
  over.source.abort();
  t.true(over.signal.aborted);
  t.deepEqual(heard, ["aborted"]);
});
