/*
 * Deleting a stream and creating it again, by several leaders at once, over a storage that carries requests out late,
 * twice or never: what log.pml says of one life of a stream, this says of its end and of the next one.
 *
 * A life (incarnation) has a number; its blobs have it in their names. stream.json names the life that is. To make one
 * a leader reserves the name, where nothing stands, and turns the reservation into the life, by If-Match. A leader
 * opens the life that it read there: it lists its segments; raises the last one's number and reads its end, or creates
 * the first; reads stream.json again; then writes. To delete it writes the seal that ends the stream, removes
 * stream.json, lists the blobs and removes them, oldest first, and answers. A leader that finds that seal does the
 * rest. Abstractions as in log.pml; records are counted only, and a segment rolls after any of them; at most two
 * segments a life and LIVES lives. A roll's seal and its end-of-stream seal are different.
 *
 * Promises, as assertions:
 * - when a deletion was answered, nothing is acknowledged into that life that was sent after it, and nothing can be
 *   read of it: no write to any of its blobs succeeds;
 * - deletion never touches another life, nor the blobs of one that stream.json still names.
 *
 * Variants (-D...): NO_SEAL (stream.json and blobs are removed without the fence and the seal), NO_JSON_MATCH
 * (stream.json is removed whatever it says), NO_RESERVATION (a life is made by one request), SAME_LIFE_AGAIN
 * (what may have been made is made once more), NO_CHECK_AFTER_RAISE, NO_CHECK_AFTER_FIRST, BLOBS_FIRST (the blobs go before
 * stream.json). REACH shows that a second life is published to by another leader than the one that deleted the first.
 */
#ifndef LEADERS
#define LEADERS 2
#endif
#ifndef LIVES
#define LIVES 2
#endif
#ifndef FAULTS
#define FAULTS 1
#endif
#ifndef RECORDS
#define RECORDS 3
#endif
#ifndef DELETES
#define DELETES 2
#endif
#define SEGMENTS 2
#define BLOBS (LIVES * SEGMENTS)
/* stream.json, among the blobs whose version is known. */
#define JSON BLOBS
/* The blob of segment s of a life (from 1). */
#define BLOB(life, s) (((life) - 1) * SEGMENTS + (s))

mtype { WRITE, RAISE, CREATE, UNDO, REMOVE, RESERVE, MAKE, OPEN, ROLLED, ENDED };

#define OK 1
#define REFUSED 2
#define LOST 3
#define BIT(n) (1 << (n))

typedef Blob { bit exists; byte number; byte records; mtype state }
Blob blob[BLOBS];

typedef Late { mtype kind; byte at; mtype content; byte epoch; bit current }
Late late[FAULTS];
byte faults;

byte life; /* what stream.json says; 0: there is none */
bit reserved; /* stream.json is a reservation */
byte lives; /* how many there were */
byte known[LEADERS + 1]; /* of which blobs it knows the version */
byte published, deletes;
bit over[LIVES + 1]; /* a deletion of this life was answered */
byte deleter[LIVES + 1];

hidden byte i, result;
hidden Late arriving;

inline forget(n) { late[n].kind = 0; late[n].at = 0; late[n].content = 0; late[n].epoch = 0; late[n].current = 0 }

inline changed(b) {
  for (i : 1 .. LEADERS) { known[i] = known[i] & ~BIT(b) }
  for (i : 0 .. FAULTS - 1) {
    if
    :: (late[i].kind == WRITE || late[i].kind == RAISE || late[i].kind == UNDO) && late[i].at == b -> forget(i)
#ifndef NO_RESERVATION
    :: late[i].kind == MAKE && late[i].at == b -> forget(i)
#endif
    :: else
    fi
  }
  i = 0
}

inline apply(kind_, b, content_, epoch_, current_) {
  result = REFUSED;
  printf("%e by epoch %d: life %d, segment %d, %d\n", kind_, epoch_, b / SEGMENTS + 1, b % SEGMENTS, content_);
  if
  :: kind_ == RESERVE && life == 0 && !reserved ->
    reserved = 1;
    changed(JSON);
    result = OK
#ifdef NO_RESERVATION
  :: kind_ == MAKE && life == 0 ->
#else
  :: kind_ == MAKE && reserved && current_ ->
#endif
    reserved = 0;
    life = content_;
    changed(JSON);
    result = OK
  :: kind_ == WRITE && blob[b].exists && blob[b].number == epoch_ && current_ ->
    assert(!over[b / SEGMENTS + 1]);
    assert(blob[b].state == OPEN);
    blob[b].state = content_;
    blob[b].records = 1;
    changed(b);
    result = OK
  :: kind_ == RAISE && blob[b].exists && current_ ->
    if
    :: blob[b].number < epoch_ -> blob[b].number = epoch_
    :: else
    fi;
    changed(b);
    result = OK
  :: kind_ == CREATE && !blob[b].exists ->
    blob[b].exists = 1; blob[b].number = epoch_; blob[b].state = OPEN; blob[b].records = 0;
    changed(b);
    result = OK
  :: (kind_ == UNDO && blob[b].exists && current_) || (kind_ == REMOVE && blob[b].exists) ->
    assert(kind_ == UNDO || life != b / SEGMENTS + 1); /* never what is in use */
    blob[b].exists = 0; blob[b].number = 0; blob[b].state = 0; blob[b].records = 0;
    changed(b);
    result = OK
  :: else -> printf("  refused\n")
  fi
}

inline keep(kind_, b, content_, epoch_, current_) {
  for (i : 0 .. FAULTS - 1) {
    if
    :: late[i].kind == 0 ->
      late[i].kind = kind_; late[i].at = b; late[i].content = content_; late[i].epoch = epoch_;
      late[i].current = current_;
      break
    :: else
    fi
  }
  i = 0;
  faults++;
  printf("%e by epoch %d is late: life %d, segment %d\n", kind_, epoch_, b / SEGMENTS + 1, b % SEGMENTS)
}

#define KNOWS(e, b) ((known[e] >> (b)) & 1)

inline request(kind_, b, content_, epoch_) {
  if
  :: d_step { apply(kind_, b, content_, epoch_, KNOWS(epoch_, b)) }
  :: faults < FAULTS -> d_step {
      keep(kind_, b, content_, epoch_, KNOWS(epoch_, b)); apply(kind_, b, content_, epoch_, KNOWS(epoch_, b)) }
  :: faults < FAULTS -> d_step { keep(kind_, b, content_, epoch_, KNOWS(epoch_, b)); result = LOST }
  fi;
  if
  :: result == OK && kind_ != REMOVE && kind_ != UNDO -> known[epoch_] = known[epoch_] | BIT(b)
  :: else
  fi
}

/* Removes stream.json, if it is still what was read: lost answers are settled by reading it again. */
inline removeJson(mine_) {
#ifdef NO_JSON_MATCH
  assert(life == 0 || life == mine_); /* never another life's */
  life = 0
#else
  if
  :: life == mine_ -> life = 0; changed(JSON)
  :: else
  fi
#endif
}

proctype Leader(byte epoch) {
  byte mine; /* the life that it opened */
  byte s; /* its last segment */
  bit deleting;
  byte listed; /* the blobs that are to be removed, a bit each */

idle:
  skip;
  d_step { s = 0; deleting = 0; listed = 0; known[epoch] = 0; mine = 0 };
end_idle:
  if
  :: atomic { life == 0 && lives < LIVES -> lives++; mine = lives }; goto creating
  /* The sweep. */
  :: d_step { reserved -> reserved = 0; changed(JSON) }; goto idle
  :: d_step { life != 0 -> mine = life }
  fi;
  goto opening;

creating:
#ifndef NO_RESERVATION
  if
  :: life != 0 -> goto idle
  :: d_step { reserved -> known[epoch] = BIT(JSON) }
  :: atomic { life == 0 && !reserved ->
      request(RESERVE, JSON, 0, epoch);
      if
      :: result == OK -> result = 0
      :: else -> result = 0; goto creating
      fi }
  fi;
#endif
  atomic {
    request(MAKE, JSON, mine, epoch);
    if
    :: result == OK -> result = 0
    /* It may be made yet, used, and deleted by others: the next try makes another life. */
#ifdef SAME_LIFE_AGAIN
    :: else -> result = 0; goto creating
#else
    :: else -> result = 0; goto idle
#endif
    fi
  };

opening:
  skip;
  /* List. */
  if
  :: d_step { blob[BLOB(mine, 1)].exists -> s = 1; known[epoch] = 0 }
  :: d_step { !blob[BLOB(mine, 1)].exists && blob[BLOB(mine, 0)].exists -> s = 0; known[epoch] = 0 }
  :: d_step { !blob[BLOB(mine, 1)].exists && !blob[BLOB(mine, 0)].exists -> s = 0; known[epoch] = 0 }; goto first
  fi;
  if
  :: !blob[BLOB(mine, s)].exists -> goto idle
  :: blob[BLOB(mine, s)].exists && blob[BLOB(mine, s)].number > epoch -> goto fenced
  :: d_step { blob[BLOB(mine, s)].exists && blob[BLOB(mine, s)].number <= epoch -> known[epoch] = BIT(BLOB(mine, s)) }
  fi;
  atomic {
    request(RAISE, BLOB(mine, s), 0, epoch);
    if
    :: result == OK -> result = 0
    :: else -> result = 0; goto idle
    fi
  };
  /* Read the end. */
  if
  :: !blob[BLOB(mine, s)].exists -> goto idle
  :: blob[BLOB(mine, s)].state == ENDED -> goto finishing
  :: blob[BLOB(mine, s)].state == ROLLED && s == 0 -> goto next
  :: blob[BLOB(mine, s)].state == ROLLED && s == 1 -> goto end_full
  :: blob[BLOB(mine, s)].state == OPEN
  fi;
#ifndef NO_CHECK_AFTER_RAISE
  /* stream.json again. */
  if
  :: life == mine
  :: life != mine -> goto idle
  fi;
#endif
  goto writing;

first:
  atomic {
    request(CREATE, BLOB(mine, 0), 0, epoch);
    if
    :: result == OK -> result = 0
    :: else -> result = 0; goto idle
    fi
  };
#ifndef NO_CHECK_AFTER_FIRST
  if
  :: life == mine
  :: atomic { life != mine -> request(UNDO, BLOB(mine, 0), 0, epoch); result = 0 }; goto idle
  fi;
#endif
  goto writing;

next:
  atomic {
    request(CREATE, BLOB(mine, 1), 0, epoch);
    if
    :: result == OK -> result = 0
    :: else -> result = 0; goto idle
    fi
  };
  if
  :: d_step { KNOWS(epoch, BLOB(mine, 0)) -> s = 1 }
  :: atomic { !KNOWS(epoch, BLOB(mine, 0)) -> request(UNDO, BLOB(mine, 1), 0, epoch); result = 0 }; goto idle
  fi;

writing:
  skip;
end_writing:
  if
  /* Publish. */
  :: atomic { published < RECORDS ->
      published++;
      request(WRITE, BLOB(mine, s), OPEN, epoch);
      if
      :: result == OK -> result = 0;
#ifdef REACH
        assert(!(mine == 2 && deleter[1] != 0 && deleter[1] != epoch && faults == FAULTS));
#endif
        skip
      :: else -> result = 0; goto idle
      fi }; goto writing
  /* Roll. */
  :: atomic { s == 0 && blob[BLOB(mine, s)].records > 0 ->
      request(WRITE, BLOB(mine, s), ROLLED, epoch);
      if
      :: result == OK -> result = 0
      :: else -> result = 0; goto idle
      fi }; goto next
  /* Delete. */
  :: deletes < DELETES -> d_step { deletes++; deleting = 1 }; goto sealing
  /* Turn to whatever stream.json says now. */
  :: life != mine -> goto idle
  fi;

sealing:
  skip;
#ifndef NO_SEAL
  atomic {
    request(WRITE, BLOB(mine, s), ENDED, epoch);
    if
    :: result == OK -> result = 0
    :: else -> result = 0; goto idle
    fi
  };
#endif

finishing:
  skip;
#ifdef BLOBS_FIRST
  goto listing;
#endif
removingJson:
  skip;
  if
  :: life == mine -> d_step { removeJson(mine) }
  :: else
  fi;
#ifdef BLOBS_FIRST
  goto answering;
#endif
listing:
  skip;
  d_step {
    listed = 0;
    if
    :: blob[BLOB(mine, 0)].exists -> listed = 1
    :: else
    fi;
    if
    :: blob[BLOB(mine, 1)].exists -> listed = listed | 2
    :: else
    fi
  };
  atomic {
    if
    :: listed & 1 -> request(REMOVE, BLOB(mine, 0), 0, epoch);
      if
      :: result == LOST -> result = 0; goto listing
      :: else -> result = 0
      fi
    :: else
    fi
  };
  atomic {
    if
    :: listed & 2 -> request(REMOVE, BLOB(mine, 1), 0, epoch);
      if
      :: result == LOST -> result = 0; goto listing
      :: else -> result = 0
      fi
    :: else
    fi
  };
#ifdef BLOBS_FIRST
  goto removingJson;
#endif
answering:
  skip;
  d_step {
    if
    :: deleting -> over[mine] = 1; deleter[mine] = epoch; printf("epoch %d answers that life %d is deleted\n", epoch, mine)
    :: else
    fi
  };
  goto idle;

fenced:
  skip;
  d_step { s = 0; deleting = 0; listed = 0; known[epoch] = 0; mine = 0 };
end_full:
  false
}

inline arrive(n) {
  arriving.kind = late[n].kind; arriving.at = late[n].at; arriving.content = late[n].content;
  arriving.epoch = late[n].epoch; arriving.current = late[n].current;
  forget(n);
  apply(arriving.kind, arriving.at, arriving.content, arriving.epoch, arriving.current);
  result = 0
}

proctype Network() {
end_network:
  do
  :: d_step { late[0].kind != 0 -> arrive(0) }
#if FAULTS > 1
  :: d_step { late[1].kind != 0 -> arrive(1) }
#endif
  od
}

init {
  atomic {
    for (i : 1 .. LEADERS) { run Leader(i) }
    i = 0;
    run Network()
  }
}
