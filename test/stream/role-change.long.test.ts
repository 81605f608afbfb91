import test from "ava";
import { surviveRoleChanges } from "../support/survive-role-changes.ts";

for (let seed = 101; seed <= 300; seed++) {
  test.serial(`roles - subscriptions go on over changes of leaders without gap or duplicate (seed ${seed})`, (t) =>
    surviveRoleChanges(t, seed),
  );
}
