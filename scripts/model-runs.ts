/** What `npm run model` checks: each model with its variants. docs/model/README.md says what they are. */

/** One search of one model. */
export interface ModelRun {
  /** The file in docs/model/, without its ending. */
  readonly model: string;
  /** What the model is compiled with: a step that is left out, and sizes. */
  readonly defines: readonly string[];
  /**
   * `right`: no error in any state. `wrong`: a step is left out, so an error must be found. `reached`: the interesting
   * end that REACH asserts away must be found, so that `right` is not said of a model that does nothing.
   */
  readonly expect: "right" | "wrong" | "reached";
  /** Only with --full. */
  readonly long: boolean;
}

/** All runs, the short ones of each model first. */
export const modelRuns: readonly ModelRun[] = [
  ...family("log", {
    right: ["LEADERS=2 RECORDS=4 FAULTS=2 SEGMENTS=3", "LEADERS=2 RECORDS=4 FAULTS=1 SEGMENTS=3 NO_SEQUENCE_NUMBER"],
    size: "RECORDS=4 FAULTS=2",
    wrong: [
      "NO_IF_MATCH",
      "READ_BEFORE_FENCE",
      "NO_RAISE",
      "RAISE_KEEPS_ETAG",
      "RETRY_FRESH_ETAG",
      "CREATE_BEFORE_SEAL",
      "NO_CHECK_AFTER_CREATE",
      "CLEANUP_WITHOUT_IF_MATCH",
      "TRIM_IN_ANY_ORDER",
      "NO_CHECK_AFTER_RAISE",
      "NO_CHECK_AFTER_FIRST",
      "NO_EPOCH_CHECK",
    ],
    long: ["LEADERS=2 RECORDS=5 FAULTS=2 SEGMENTS=3", "LEADERS=3 RECORDS=3 FAULTS=1 SEGMENTS=3"],
  }),
  ...family("election", {
    right: ["NODES=2 FAULTS=1 SUSPICIONS=1 EXPIRIES=1 DEATHS=1"],
    size: "NODES=2 FAULTS=1",
    wrong: [
      "NO_CLAIM",
      "CLAIM_WITHOUT_IF_MATCH",
      "BREAK_WITHOUT_IF_MATCH",
      "NO_READ_BACK",
      "NO_CONFIRM",
      "NO_RENEWAL_CHECK",
      "NO_CLAIM_CHECK",
    ],
    long: ["NODES=3 FAULTS=1 SUSPICIONS=1 EXPIRIES=0 DEATHS=0", "NODES=2 FAULTS=2 SUSPICIONS=1 EXPIRIES=1 DEATHS=0"],
  }),
  ...family("delete", {
    right: ["LEADERS=2 FAULTS=1"],
    size: "LEADERS=2 FAULTS=1",
    wrong: [
      "NO_SEAL",
      "NO_JSON_MATCH",
      "NO_RESERVATION",
      "SAME_LIFE_AGAIN",
      "NO_CHECK_AFTER_RAISE",
      "NO_CHECK_AFTER_FIRST",
      "BLOBS_FIRST",
    ],
    long: ["LEADERS=2 FAULTS=2"],
  }),
  ...family("torn", {
    right: ["FRAMES=5 CRASHES=3"],
    size: "FRAMES=5 CRASHES=3",
    wrong: ["NO_CLEAR", "NO_TAIL_CLEAR", "CUT_COMMIT"],
    long: ["FRAMES=6 CRASHES=4 PAGES=4"],
  }),
  ...family("lease", {
    right: ["NODES=2 LENGTH=3 BREAKS=1"],
    size: "NODES=2 LENGTH=3 BREAKS=1",
    wrong: ["COUNT_FROM_ANSWER", "RELEASE_FIRST", "CLOCK_STOPS"],
    long: ["NODES=2 LENGTH=4 BREAKS=2"],
  }),
];

/** The runs of one model; defines are separated by blanks. */
function family(
  model: string,
  runs: { right: readonly string[]; size: string; wrong: readonly string[]; long: readonly string[] },
): ModelRun[] {
  const split = (defines: string) => defines.split(" ");
  const run = (expect: ModelRun["expect"], defines: string, long = false) => {
    return { model, expect, defines: split(defines), long };
  };
  return [
    ...runs.right.map((defines) => run("right", defines)),
    run("reached", `${runs.size} REACH`),
    ...runs.wrong.map((variant) => run("wrong", `${runs.size} ${variant}`)),
    ...runs.long.map((defines) => run("right", defines, true)),
  ];
}
