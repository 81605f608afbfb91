/*
 * One segment under one writer whose writes may tear: commits, crashes, recovery, and clearing behind the end, to the
 * sector.
 *
 * The segment is a row of cells, CELLS_PER_SECTOR to a sector and SECTORS_PER_PAGE sectors to a page. A frame is one to
 * FRAME_MAX cells; its header is its first cell. A commit is one or two frames in one write of whole pages: from the page that
 * holds the end to the page that holds the new end, the leading bytes as they were and zeros behind the new end. A
 * write that is torn leaves any of its sectors new and the others as they were. Clearing and the rewriting of the
 * tail page may be torn too.
 *
 * Abstractions:
 * - A cell holds zero, or which frame of which write it belongs to and its place in it: that is what the checksum
 *   proves, with the position. So a frame is valid if all its cells are there, in a row, at its own place.
 * - The recovery is src/segment/recovery.ts without checkpoints and damage (storage that loses what it acknowledged):
 *   zeros are the end; a valid frame of a later commit behind, or no zero sector in what is bad, is judged damage.
 * - One writer at a time: others are log.pml's matter. RECORDS is how many frames there may be in all.
 *
 * Promises, as assertions:
 * - what is acknowledged, and what any reader could see (the valid frames from the start, at any moment), is there
 *   for ever at its place;
 * - nothing is read that was not just written: what was cut as torn never comes back;
 * - a torn write is never taken for damage.
 *
 * Variants (-D...): NO_CLEAR (nothing behind the end is cleared after a recovery), NO_TAIL_CLEAR (all but the end's page
 * is), CUT_COMMIT (a recovery that drops the valid frames at the start of a torn commit). REACH shows that recoveries after torn commits of two frames happen.
 */
#ifndef PAGES
#define PAGES 3
#endif
#ifndef FRAMES
#define FRAMES 5
#endif
#ifndef CRASHES
#define CRASHES 3
#endif
#define CELLS_PER_SECTOR 2
#define SECTORS_PER_PAGE 2
#define FRAME_MAX 3
#define PAGE (CELLS_PER_SECTOR * SECTORS_PER_PAGE)
#define CELLS (PAGES * PAGE)

/* A cell: 0, else the frame's number (from 1) * 4 + the cell's place in the frame. */
byte cell[CELLS];
byte fresh[CELLS]; /* the write under way */

/* Of each frame: where it stands, its length, its commit's position, its offset. What its header says. */
typedef Frame { byte at; byte cells; byte commit; byte offset }
Frame frame[FRAMES + 1];
byte frames;

byte end, next; /* the writer's acknowledged end: position and offset */
byte crashes;
byte seen; /* the offset up to which a reader has seen frames */
byte shown[FRAMES]; /* by offset: the frame that it saw */
bit cut[FRAMES + 1]; /* by frame: a recovery found it to be not there */
bit tornPair;

hidden byte i, j, k, f, position, offset, commit;
hidden byte valid, zero, damage; /* bits */

#define FRAME_OF(c) ((c) / 4)
#define PLACE_OF(c) ((c) % 4)

/* Sets valid and f: whether a whole frame stands at p. */
inline look(p) {
  valid = 0; f = 0;
  if
  :: p < CELLS && cell[p] != 0 && PLACE_OF(cell[p]) == 0 ->
    f = FRAME_OF(cell[p]);
    if
    :: frame[f].at == p && p + frame[f].cells <= CELLS ->
      valid = 1;
      for (k : 0 .. FRAME_MAX - 1) {
        if
        :: k < frame[f].cells && cell[p + k] != f * 4 + k -> valid = 0
        :: else
        fi
      }
      k = 0
    :: else
    fi
  :: else
  fi
}

/* Walks the valid frames from the start: sets position, offset. */
inline scan() {
  position = 0; offset = 0; commit = 0;
  do
  :: true ->
    look(position);
    if
    :: valid && frame[f].offset == offset && (frame[f].commit == position || frame[f].commit == commit) ->
      /* What a reader sees. */
      assert(!cut[f]);
      if
      :: offset < seen -> assert(shown[offset] == f)
      :: else -> shown[offset] = f; seen = offset + 1
      fi;
      commit = frame[f].commit;
      position = position + frame[f].cells;
      offset++
    :: else -> break
    fi
  od;
  valid = 0; f = 0;
  assert(offset >= seen)
}

/* Whether the sector of cell p is zero from p to its end. */
inline zeroSector(p) {
  zero = 1;
  for (j : 0 .. CELLS_PER_SECTOR - 1) {
    if
    :: p + j < CELLS && (p + j) / CELLS_PER_SECTOR == (p) / CELLS_PER_SECTOR && cell[p + j] != 0 -> zero = 0
    :: else
    fi
  }
  j = 0
}

/* One write that may be torn: cells from..to (whole pages) become `fresh`, sector by sector or not. */
inline put(from, to, torn) {
  i = from;
  do
  :: i < to ->
    if
    :: true ->
      for (j : 0 .. CELLS_PER_SECTOR - 1) { cell[i + j] = fresh[i + j] }
    :: torn -> skip
    fi;
    j = 0;
    i = i + CELLS_PER_SECTOR
  :: else -> break
  od;
  i = 0
}

inline wipe() {
  for (i : 0 .. CELLS - 1) { fresh[i] = 0 }
  i = 0
}

#define PAGE_START(p) (((p) / PAGE) * PAGE)
#define PAGE_END(p) ((((p) + PAGE - 1) / PAGE) * PAGE)

active proctype Writer() {
  byte first, second, newEnd, from, to;

opening:
  skip;
  /* Recovery. */
  d_step {
    scan();
    end = position; next = offset;
    damage = 0; zero = 1;
    for (i : 0 .. CELLS - 1) {
      if
      :: i >= end && cell[i] != 0 -> zero = 0
      :: else
      fi
    }
    i = 0;
    from = !zero; /* dirty */
    if
    :: from ->
      /* A valid frame of a later commit behind it? */
      for (i : 0 .. CELLS - 1) {
        if
        :: i > end ->
          look(i);
          if
          :: valid && frame[f].commit > end -> damage = 1
          :: else
          fi
        :: else
        fi
      }
      i = 0;
      /* Is some sector of the header, or of the frame as far as the header says, as it was before? */
      zeroSector(end);
      if
      :: !zero && cell[end] != 0 && PLACE_OF(cell[end]) == 0 ->
        f = FRAME_OF(cell[end]);
        to = 0;
        for (i : 0 .. FRAME_MAX - 1) {
          if
          :: i < frame[f].cells && (i == 0 || (end + i) % CELLS_PER_SECTOR == 0) ->
            zeroSector(end + i);
            to = (zero -> 1 : to)
          :: else
          fi
        }
        i = 0;
        damage = (to == 0 -> 1 : damage)
      :: !zero && !(cell[end] != 0 && PLACE_OF(cell[end]) == 0) -> damage = 1
      :: else
      fi;
      /* What is not there now must never be. */
      for (i : 1 .. FRAMES) {
        if
        :: i <= frames && frame[i].at >= end -> cut[i] = 1
        :: else
        fi
      }
      i = 0
    :: else
    fi;
    valid = 0; f = 0; zero = 0; to = 0;
    assert(!damage);
    damage = 0
  };
#ifdef CUT_COMMIT
  /* The whole commit goes, though its first frame is there. */
  d_step {
    if
    :: from && next > 0 && frame[shown[next - 1]].commit != frame[shown[next - 1]].at ->
      end = frame[shown[next - 1]].at; next--
    :: from && next > 0 && frames > shown[next - 1] && frame[shown[next - 1] + 1].commit == frame[shown[next - 1]].at ->
      end = frame[shown[next - 1]].at; next--
    :: else
    fi
  };
#endif
#ifndef NO_CLEAR
  if
  :: from ->
#ifndef NO_TAIL_CLEAR
    /* The end's page, zeros behind the end. */
    atomic {
      d_step {
        wipe();
        for (i : 0 .. CELLS - 1) {
          if
          :: i < end -> fresh[i] = cell[i]
          :: else
          fi
        }
        i = 0
      };
      if
      :: put(PAGE_START(end), PAGE_END(end), 0)
      :: crashes < CRASHES -> crashes++; put(PAGE_START(end), PAGE_END(end), 1); wipe(); from = 0; goto opening
      fi;
      wipe()
    };
#endif
    /* All pages behind it. */
    atomic {
      wipe();
      if
      :: put(PAGE_END(end), CELLS, 0)
      :: crashes < CRASHES -> crashes++; put(PAGE_END(end), CELLS, 1); from = 0; goto opening
      fi
    }
  :: else
  fi;
#endif
  from = 0;

end_committing:
  do
  :: frames < FRAMES ->
    atomic {
      if
      :: first = 1
      :: first = 2
      :: first = 3
      fi;
      if
      :: second = 0
      :: frames + 1 < FRAMES -> second = 1
      :: frames + 1 < FRAMES -> second = 2
      fi;
      newEnd = end + first + second;
      if
      :: newEnd <= CELLS
      :: else -> first = 0; second = 0; newEnd = 0; goto end_full
      fi;
      d_step {
        frames++;
        frame[frames].at = end; frame[frames].cells = first; frame[frames].commit = end; frame[frames].offset = next;
        wipe();
        for (i : 0 .. CELLS - 1) {
          if
          :: i < end -> fresh[i] = cell[i]
          :: i >= end && i < end + first -> fresh[i] = frames * 4 + i - end
          :: else
          fi
        }
        if
        :: second > 0 ->
          frames++;
          frame[frames].at = end + first; frame[frames].cells = second; frame[frames].commit = end;
          frame[frames].offset = next + 1;
          for (i : 0 .. CELLS - 1) {
            if
            :: i >= end + first && i < newEnd -> fresh[i] = frames * 4 + i - end - first
            :: else
            fi
          }
        :: else
        fi;
        i = 0;
        from = PAGE_START(end); to = PAGE_END(newEnd)
      };
      if
      :: put(from, to, 0);
        d_step {
          wipe();
          next = next + 1 + (second > 0);
          end = newEnd;
          first = 0; second = 0; newEnd = 0; from = 0; to = 0;
          scan();
          /* Acknowledged. */
          assert(position == end && offset == next)
        }
      :: crashes < CRASHES ->
        crashes++;
        put(from, to, 1);
        wipe();
        tornPair = tornPair || second > 0;
        first = 0; second = 0; newEnd = 0; from = 0; to = 0;
        goto opening
      fi
    }
#ifdef REACH
    ;
    assert(!(crashes == CRASHES && tornPair && frames == FRAMES && cut[1]))
#endif
  od;

end_full:
  false
}
