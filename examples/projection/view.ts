/** A searchable view of a stream in SQLite. It can be thrown away at any time: replay makes it anew. */
import { DatabaseSync } from "node:sqlite";
import type { StreamRecord } from "message-vault/client";

/** What is found. */
export interface Hit {
  readonly offset: number;
  readonly timestamp: number;
  readonly key: string;
  readonly body: string;
}

// A crash may cost the last transactions, as the disk is not waited for (NORMAL): with them goes the position that they
// wrote, so they are replayed.
const schema = `
  PRAGMA journal_mode = WAL;
  PRAGMA synchronous = NORMAL;
  CREATE TABLE IF NOT EXISTS position (
    one INTEGER PRIMARY KEY CHECK (one = 1), incarnation TEXT NOT NULL, next_offset INTEGER NOT NULL
  ) STRICT;
  CREATE TABLE IF NOT EXISTS events (
    offset INTEGER PRIMARY KEY, timestamp INTEGER NOT NULL, key TEXT NOT NULL, body TEXT NOT NULL
  ) STRICT;
  CREATE VIRTUAL TABLE IF NOT EXISTS words USING fts5 (body, content = 'events', content_rowid = 'offset');
`;

/** The view in one file. */
export class View {
  private readonly database: DatabaseSync;

  constructor(file: string) {
    this.database = new DatabaseSync(file);
    this.database.exec(schema);
  }

  /** Which life of the stream this is a view of, and where to go on; undefined for a view that is new. */
  get position(): { readonly incarnation: string; readonly nextOffset: bigint } | undefined {
    const row = this.database.prepare("SELECT incarnation, next_offset FROM position").get();
    return row && { incarnation: String(row["incarnation"]), nextOffset: BigInt(Number(row["next_offset"])) };
  }

  /**
   * Takes a run of records in, and in the same transaction the offset behind them: whatever happens, each record is
   * counted once. A plain INSERT, so that one that came twice would be noticed.
   */
  apply(records: readonly StreamRecord[], incarnation: string, nextOffset: bigint): void {
    const { database } = this;
    const addEvent = database.prepare("INSERT INTO events VALUES (?, ?, ?, ?)");
    const addWords = database.prepare("INSERT INTO words (rowid, body) VALUES (?, ?)");
    database.exec("BEGIN");
    try {
      for (const record of records) {
        const body = record.text();
        addEvent.run(record.offset, record.timestamp, record.keyText(), body);
        addWords.run(record.offset, body);
      }
      database.prepare("REPLACE INTO position VALUES (1, ?, ?)").run(incarnation, nextOffset);
      database.exec("COMMIT");
    } catch (error) {
      database.exec("ROLLBACK");
      throw error;
    }
  }

  /** How many events have all of the words, and the best `limit` of them. */
  search(text: string, limit: number): { readonly total: number; readonly hits: Hit[] } {
    const query = text.split(/\s+/).filter(Boolean).map(quote).join(" ");
    const found = this.database.prepare("SELECT count(*) AS total FROM words WHERE words MATCH ?").get(query);
    const best = this.database.prepare(`
      SELECT offset, timestamp, key, events.body FROM words JOIN events ON events.offset = words.rowid
      WHERE words MATCH ? ORDER BY rank, offset LIMIT ?`);
    return { total: Number(found?.["total"]), hits: best.all(query, limit) as unknown as Hit[] };
  }

  /** Closes the file; what was written is in it then, and nowhere else. */
  close(): void {
    this.database.close();
  }
}

// As a string of FTS5, so that nothing in it is an operator.
function quote(word: string): string {
  return `"${word.replaceAll('"', '""')}"`;
}
