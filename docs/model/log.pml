/*
 * One stream's log: fence, commit, settling, seal, roll and trim, by several leaders at once, over a storage that
 * carries requests out late, twice or never.
 *
 * A leader is a process with an epoch of its own (a node that leads twice is two leaders here). How it came by the
 * epoch is election.pml's matter; here all of them begin whenever they like, in any order, and any of them may stand
 * still for as long as it likes. So nothing here rests on a lease or on a clock.
 *
 * Abstractions, and why they lose nothing:
 * - A request that is answered is sent, judged, applied and answered in one step: its sender does nothing while it
 *   waits, so a delay on the way is a sender that was slow. Acknowledging at once is the stronger promise.
 * - What is left is a request whose answer never comes, or of which a second copy is under way: those go to `late`,
 *   and are judged and applied at any later time, or never. FAULTS is how many there may be.
 * - Of an ETag it matters only whether it is still the blob's. So a version is a bit with whoever knows it, cleared
 *   when the blob changes. (Storage must never give an ETag twice.)
 * - A segment is a row of slots, one for each commit of one record. All slots are in one page, the worst case: a
 *   write takes all that stood behind it away. What is read is read at one moment; torn writes are in torn.pml.
 * - A segment is known by its place in the chain, not by its first offset.
 *
 * Promises, as assertions:
 * - storage: a write never takes away or replaces what could be read, and no record stands twice.
 * - a publish that was told "not stored" never comes to be.
 * - an acknowledged record is read at its offset, until it is trimmed, whoever did what since.
 *
 * Variants, each a step left out (-D...): NO_IF_MATCH, READ_BEFORE_FENCE, NO_RAISE, RAISE_KEEPS_ETAG,
 * RETRY_FRESH_ETAG, CREATE_BEFORE_SEAL, NO_CHECK_AFTER_CREATE, CLEANUP_WITHOUT_IF_MATCH,
 * TRIM_IN_ANY_ORDER, NO_CHECK_AFTER_RAISE, NO_CHECK_AFTER_FIRST, NO_EPOCH_CHECK. NO_SEQUENCE_NUMBER leaves the
 * number out of the conditions of writes. REACH shows that the interesting end is reached at all.
 */
#ifndef LEADERS
#define LEADERS 2
#endif
#ifndef RECORDS
#define RECORDS 4
#endif
#ifndef SEGMENTS
#define SEGMENTS 3
#endif
#ifndef FAULTS
#define FAULTS 2
#endif
#define SLOTS (RECORDS + 1)
#define SEAL 15

/* REMOVE removes a trimmed segment; UNDO one that was just created, if it is still as it was created. */
mtype { WRITE, RAISE, CREATE, UNDO, REMOVE };

#define OK 1
#define REFUSED 2 /* a condition does not hold, or there is no such blob: nothing was changed */
#define LOST 3

#define BIT(n) (1 << (n))

typedef Segment {
  bit exists;
  byte number; /* the page blob's sequence number */
  byte first; /* the offset of slot 0, from its name */
  byte slot[SLOTS] /* 0: nothing, SEAL, else the publish that stands there */
}
Segment segment[SEGMENTS];

typedef Late {
  mtype kind;
  byte at; /* segment */
  byte position;
  byte content; /* publish or SEAL; for CREATE the first offset */
  byte epoch;
  bit current /* whether the version that it names is still the blob's */
}
Late late[FAULTS];
byte faults;

byte known[LEADERS + 1]; /* by epoch: of which segments it knows the version; a bit each */
byte published; /* publishes so far: they are numbered from 1 */
byte author[RECORDS]; /* whose publish it is: the epoch that its frame names */
byte trimmed; /* the start offset in stream.json */

/* What was promised. */
byte acknowledged[RECORDS]; /* by offset: which publish */
byte notStored; /* a bit for each publish */
byte stored; /* a bit for each publish */
#ifdef REACH
byte leadersHeard; /* a bit for each epoch that acknowledged something */
#endif

hidden byte i, j, k;
hidden byte result;

/* Every version of segment s that anyone knows is out of date. What can never succeed any more is forgotten. */
inline changed(s) {
  for (i : 0 .. LEADERS) { known[i] = known[i] & ~BIT(s) }
  for (i : 0 .. FAULTS - 1) {
    if
    :: late[i].kind != 0 && late[i].at == s ->
      late[i].current = 0;
#ifndef NO_IF_MATCH
      if
      :: late[i].kind == WRITE || late[i].kind == RAISE || late[i].kind == UNDO -> forget(i)
      :: else
      fi
#endif
    :: else
    fi
  }
}

inline forget(n) {
  late[n].kind = 0; late[n].at = 0; late[n].position = 0; late[n].content = 0; late[n].epoch = 0; late[n].current = 0
}

/* A reader looks an offset up in the last segment that begins at or before it. */
inline checkReaders() {
  for (i : 0 .. RECORDS - 1) {
    if
    :: acknowledged[i] != 0 && i >= trimmed ->
      j = SEGMENTS;
      for (k : 0 .. SEGMENTS - 1) {
        if
        :: segment[k].exists && segment[k].first <= i -> j = k
        :: else
        fi
      }
      assert(j < SEGMENTS); /* else an acknowledged record is gone */
      assert(i - segment[j].first < SLOTS && segment[j].slot[i - segment[j].first] == acknowledged[i])
    :: else
    fi
  }
  i = 0; j = 0; k = 0
}

#ifdef NO_IF_MATCH
#define MATCHES(current) true
#else
#define MATCHES(current) (current)
#endif
#ifdef NO_SEQUENCE_NUMBER
#define OWNED(s, epoch_) true
#else
#define OWNED(s, epoch_) (segment[s].number == epoch_)
#endif
#ifdef CLEANUP_WITHOUT_IF_MATCH
#define UNDOES(current) true
#else
#define UNDOES(current) (current)
#endif

/* Storage judges a request and carries it out, in one moment. */
inline apply(kind_, s, position_, content_, epoch_, current_) {
  result = REFUSED;
  printf("%e by epoch %d: segment %d, position %d, content %d\n", kind_, epoch_, s, position_, content_);
  if
  :: kind_ == WRITE && segment[s].exists && OWNED(s, epoch_) && MATCHES(current_) ->
    /* The page is rewritten: what stood here and behind is no more. */
    assert(segment[s].slot[position_] == 0);
    assert(position_ == 0 || (segment[s].slot[position_ - 1] != 0 && segment[s].slot[position_ - 1] != SEAL));
    segment[s].slot[position_] = content_;
    if
    :: content_ != SEAL ->
      assert(!(notStored & BIT(content_ - 1)));
      assert(!(stored & BIT(content_ - 1)));
      stored = stored | BIT(content_ - 1)
    :: else
    fi;
    changed(s);
    result = OK
  :: kind_ == RAISE && segment[s].exists && current_ ->
#ifdef RAISE_KEEPS_ETAG
    if
    :: segment[s].number < epoch_ -> segment[s].number = epoch_; changed(s)
    :: else
    fi;
#else
    if
    :: segment[s].number < epoch_ -> segment[s].number = epoch_
    :: else
    fi;
    changed(s);
#endif
    result = OK
  :: kind_ == CREATE && !segment[s].exists ->
    segment[s].exists = 1;
    segment[s].number = epoch_;
    segment[s].first = content_;
    changed(s);
    checkReaders();
    result = OK
  :: (kind_ == UNDO && segment[s].exists && UNDOES(current_)) || (kind_ == REMOVE && segment[s].exists) ->
    segment[s].exists = 0; segment[s].number = 0; segment[s].first = 0;
    for (i : 0 .. SLOTS - 1) { segment[s].slot[i] = 0 }
    changed(s);
    checkReaders();
    result = OK
  :: else -> printf("  refused\n")
  fi
}

inline keep(kind_, s, position_, content_, epoch_, current_) {
  for (i : 0 .. FAULTS - 1) {
    if
    :: late[i].kind == 0 ->
      late[i].kind = kind_; late[i].at = s; late[i].position = position_; late[i].content = content_;
      late[i].epoch = epoch_; late[i].current = current_;
      break
    :: else
    fi
  }
  i = 0;
  faults++;
  printf("%e by epoch %d is late: segment %d, position %d, content %d\n", kind_, epoch_, s, position_, content_)
}

#define KNOWS(e, s) ((known[e] >> (s)) & 1)

/* A leader's request: answered, answered with a second copy under way, or without an answer. */
inline request(kind_, s, position_, content_, epoch_) {
  if
  :: d_step { apply(kind_, s, position_, content_, epoch_, KNOWS(epoch_, s)) }
  :: faults < FAULTS -> d_step {
      keep(kind_, s, position_, content_, epoch_, KNOWS(epoch_, s));
      apply(kind_, s, position_, content_, epoch_, KNOWS(epoch_, s)) }
  :: faults < FAULTS -> d_step { keep(kind_, s, position_, content_, epoch_, KNOWS(epoch_, s)); result = LOST }
  fi;
  if
  :: result == OK && kind_ != UNDO && kind_ != REMOVE -> known[epoch_] = known[epoch_] | BIT(s)
  :: else
  fi
}

inline acknowledge(publish_, offset_, e) {
  printf("acknowledged by epoch %d: publish %d at offset %d\n", e, publish_, offset_);
  assert(acknowledged[offset_] == 0 || acknowledged[offset_] == publish_);
  acknowledged[offset_] = publish_;
  checkReaders();
#ifdef REACH
  leadersHeard = leadersHeard | BIT(e)
#endif
}

inline readEnd() {
  d_step {
    end = 0; sealed = 0; missing = !segment[s].exists;
    do
    :: end < SLOTS && segment[s].slot[end] != 0 && segment[s].slot[end] != SEAL -> end++
    :: else -> break
    od;
    if
    :: end < SLOTS && segment[s].slot[end] == SEAL -> sealed = 1
    :: else
    fi;
    newer = 0;
#ifndef NO_EPOCH_CHECK
    if
    :: end > 0 -> newer = author[segment[s].slot[end - 1] - 1] > epoch
    :: else
    fi
#endif
  }
}

/* The end that REACH looks for: all is published and acknowledged, by every leader some, through every roll. */
inline reached() {
#ifdef REACH
  assert(!(s == SEGMENTS - 1 && faults == FAULTS && leadersHeard == (BIT(LEADERS + 1) - 2) && trimmed > 0
    && acknowledged[RECORDS - 1] != 0))
#else
  skip
#endif
}

proctype Leader(byte epoch) {
  byte s; /* the segment that it writes to */
  byte base; /* that segment's first offset */
  byte end; /* its acknowledged end, a slot */
  bit sealed;
  bit missing; /* there is none, or it was trimmed away after it was listed */
  bit newer; /* a newer leader wrote to it after the raise */
  byte publish; /* what is being written; 0: nothing. Kept while its outcome is not known */
  byte offset; /* where that would stand */
  byte kept; /* the oldest segment that it knows of */

opening:
  skip;
  /* List the segments: the last one counts. */
  d_step {
    s = 0; base = 0; end = 0; sealed = 0; missing = 0; newer = 0;
    kept = SEGMENTS;
    for (k : 0 .. SEGMENTS - 1) {
      if
      :: segment[k].exists -> s = k; base = segment[k].first; kept = (kept < k -> kept : k)
      :: else
      fi
    }
    k = 0;
    known[epoch] = 0;
    missing = (kept == SEGMENTS);
    printf("epoch %d opens, finds segment %d\n", epoch, s)
  };

  if
  :: missing -> goto creatingFirst
  :: else
  fi;

#ifdef READ_BEFORE_FENCE
  readEnd();
#endif
  /* Its properties. */
  if
  :: d_step { !segment[s].exists -> skip }; goto opening
  :: d_step { segment[s].exists && segment[s].number > epoch -> known[epoch] = 0 }; goto fenced
  :: d_step { segment[s].exists && segment[s].number <= epoch -> known[epoch] = BIT(s) }
  fi;
#ifndef NO_RAISE
  /* The fence: raise the number, which changes the version. */
  atomic {
    request(RAISE, s, 0, 0, epoch);
    if
    :: result != OK -> result = 0; goto opening
    :: else -> result = 0
    fi
  };
#endif
#ifndef READ_BEFORE_FENCE
  readEnd();
#endif
  if
  :: missing || newer -> goto opening
  :: !missing && !newer && sealed -> goto creating
  :: else
  fi;
#ifndef NO_CHECK_AFTER_RAISE
  /* Read stream.json: has the stream gone on without this segment, so that a late create made it anew? */
  if
  :: trimmed > base + end -> goto opening
  :: else
  fi;
#endif

writing:
  /* Opened again under the same epoch: what was sent before is there, or never will be. */
  atomic {
    if
    :: publish != 0 && offset < base + end -> d_step { acknowledge(publish, offset, epoch); publish = 0; offset = 0 }
    :: publish != 0 && offset >= base + end -> d_step { notStored = notStored | BIT(publish - 1); publish = 0; offset = 0 }
    :: publish != 0 && offset >= base + end -> skip /* sent again, below */
    :: publish == 0
    fi
  };

end_writing:
  do
  :: atomic {
      publish != 0 || published < RECORDS ->
      if
      :: publish == 0 -> published++; publish = published; author[publish - 1] = epoch
      :: else
      fi;
      offset = base + end
    };
#ifdef RETRY_FRESH_ETAG
again:
    skip;
#endif
    atomic {
      request(WRITE, s, end, publish, epoch);
      if
      :: result == OK ->
        d_step { result = 0; acknowledge(publish, offset, epoch); end++; publish = 0; offset = 0 };
        reached()
#ifdef RETRY_FRESH_ETAG
      :: result != OK && segment[s].exists && segment[s].number == epoch ->
        result = 0; known[epoch] = known[epoch] | BIT(s); goto again
      :: result != OK && !(segment[s].exists && segment[s].number == epoch) -> result = 0; goto opening
#else
      :: else -> result = 0; goto opening
#endif
      fi
    }
#ifdef CREATE_BEFORE_SEAL
  :: atomic {
      publish == 0 && end > 0 && s + 1 < SEGMENTS ->
      request(CREATE, s + 1, 0, base + end, epoch);
      if
      :: result == OK -> result = 0
      :: else -> result = 0; goto opening
      fi
    };
    atomic {
      request(WRITE, s, end, SEAL, epoch);
      if
      :: result == OK -> result = 0; s++; base = base + end; end = 0
      :: else -> result = 0; goto opening
      fi
    }
#else
  :: atomic {
      publish == 0 && end > 0 && s + 1 < SEGMENTS ->
      request(WRITE, s, end, SEAL, epoch);
      if
      :: result == OK -> result = 0; goto creating
      :: else -> result = 0; goto opening
      fi
    }
#endif
  :: atomic {
      /* Trim: the start offset first, then the segments before it, the oldest first. */
      publish == 0 && kept < s ->
      if
      :: trimmed < base -> trimmed = base
      :: else
      fi
    };
    atomic {
#ifdef TRIM_IN_ANY_ORDER
      if
      :: request(REMOVE, s - 1, 0, 0, epoch); kept = s
      :: request(REMOVE, kept, 0, 0, epoch); kept++
      fi;
#else
      request(REMOVE, kept, 0, 0, epoch);
      if
      :: result != LOST -> kept++
      :: else
      fi;
#endif
      result = 0
    }
  od;

creatingFirst:
  /* A new stream has no segment. */
  atomic {
    kept = 0; missing = 0;
    request(CREATE, 0, 0, 0, epoch);
    if
    :: result == OK -> result = 0
    :: else -> result = 0; goto opening
    fi
  };
#ifndef NO_CHECK_AFTER_FIRST
  /* Read stream.json: has the stream gone on without it? */
  if
  :: trimmed > 0 -> atomic { request(UNDO, 0, 0, 0, epoch); result = 0 }; goto opening
  :: else
  fi;
#endif
  goto writing;

creating:
  atomic {
    if
    :: s + 1 >= SEGMENTS -> goto end_full
    :: else
    fi;
    request(CREATE, s + 1, 0, base + end, epoch);
    if
    :: result == OK -> result = 0
    :: else -> result = 0; goto opening
    fi
  };
#ifdef NO_CHECK_AFTER_CREATE
  atomic { s++; base = base + end; end = 0; sealed = 0 };
#else
  /* Is the sealed segment as we left it? */
  if
  :: d_step { KNOWS(epoch, s) -> s++; base = base + end; end = 0; sealed = 0 }
  :: atomic { !KNOWS(epoch, s) -> request(UNDO, s + 1, 0, 0, epoch); result = 0 }; goto opening
  fi;
#endif
  goto writing;

fenced:
  skip;
  /* A newer leader is here. What was never sent failed as not stored, what was sent is unknown: nothing is promised. */
  d_step { s = 0; base = 0; end = 0; sealed = 0; missing = 0; newer = 0; publish = 0; offset = 0; kept = 0; known[epoch] = 0 };
end_full:
  false
}

hidden Late arriving;
inline arrive(n) {
  arriving.kind = late[n].kind; arriving.at = late[n].at; arriving.position = late[n].position;
  arriving.content = late[n].content; arriving.epoch = late[n].epoch; arriving.current = late[n].current;
  forget(n);
  apply(arriving.kind, arriving.at, arriving.position, arriving.content, arriving.epoch, arriving.current);
  result = 0
}

/* What is late arrives when it likes. */
proctype Network() {
end_network:
  do
  :: d_step { late[0].kind != 0 -> arrive(0) }
#if FAULTS > 1
  :: d_step { late[1].kind != 0 -> arrive(1) }
#endif
#if FAULTS > 2
  :: d_step { late[2].kind != 0 -> arrive(2) }
#endif
#if FAULTS > 3
  :: d_step { late[3].kind != 0 -> arrive(3) }
#endif
  od
}

init {
  atomic {
    for (k : 1 .. LEADERS) { run Leader(k) }
    k = 0;
    run Network()
  }
}
