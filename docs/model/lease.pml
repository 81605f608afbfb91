/*
 * The lease on the control blob in time: taken, renewed, run out, given back and broken, with requests that take time
 * and answers that take more.
 *
 * Time goes in ticks, the same for all: clocks run at one speed, though each node only measures spans. A lease lasts LENGTH
 * ticks from when its request arrives; its holder counts from before it sent the request. A node that is frozen changes
 * nothing here: whether it believes to hold the lease is asked of its clock when it matters. Time has no end here.
 *
 * Abstractions: each node has one request under way at most, as in src/leader/lease.ts; a request may arrive at any
 * tick, or never, its answer too. A node asks for the lease once a tick at most, each time under a new id; four ids a
 * node are enough, as the lease of the fourth last is over by then.
 *
 * Promise, as an assertion: who believes to hold the lease holds it, unless it was broken. So without a break two nodes
 * never believe it at once.
 *
 * Variants (-D...): COUNT_FROM_ANSWER, RELEASE_FIRST (give back, then stop), CLOCK_STOPS (a machine that sleeps takes its
 * clock along: why the lease is for speed only, and the fence for safety). REACH shows that after a break two nodes
 * believe at once, which the fence has to bear.
 */
#ifndef NODES
#define NODES 2
#endif
#ifndef LENGTH
#define LENGTH 3
#endif
#ifndef BREAKS
#define BREAKS 1
#endif
#ifndef SLEEPS
#define SLEEPS 1
#endif

mtype { ACQUIRE, RENEW, RELEASE };
mtype { IDLE, SENT, DONE, FAILED };

typedef Node {
  byte lease; /* the id that it asked for last; 0: none */
  byte remaining; /* ticks for which it believes to hold it */
  mtype request;
  mtype state;
  byte age; /* ticks since the request was sent */
  byte generation; /* of its lease ids */
  bit rested /* whether a tick went by since it asked for the lease */
}
Node node[NODES + 1];

/* Storage. */
byte lease; /* the id of the last lease */
byte left; /* ticks that it still lasts; 0: nobody holds it */
bit isBroken; /* whether it was broken: then it cannot be renewed */
bit wasBroken[NODES + 1]; /* by node: whether the lease that it asked for last was broken */

byte breaks, sleeps;
hidden byte i;

#define BELIEVES(n) (node[n].remaining > 0)
#define HOLDS(n) (left > 0 && lease == node[n].lease)

inline check() {
  for (i : 1 .. NODES) { assert(!BELIEVES(i) || HOLDS(i) || wasBroken[i]) }
#ifdef REACH
  assert(!(BELIEVES(1) && BELIEVES(2) && HOLDS(1)));
#endif
  i = 0
}

inline send(n, kind) { node[n].request = kind; node[n].state = SENT; node[n].age = 0 }

inline arrive(n) {
  if
  :: node[n].request == ACQUIRE && (left == 0 || lease == node[n].lease) ->
    lease = node[n].lease; left = LENGTH; isBroken = 0; node[n].state = DONE
  :: node[n].request == RENEW && lease == node[n].lease && !isBroken -> left = LENGTH; node[n].state = DONE
  :: node[n].request == RELEASE && lease == node[n].lease -> lease = 0; left = 0; isBroken = 0; node[n].state = DONE
  :: else -> node[n].state = FAILED
  fi
}

inline settle(n) {
  if
  :: node[n].request == RELEASE -> node[n].remaining = 0; node[n].lease = 0
  :: node[n].request != RELEASE && node[n].state == FAILED -> node[n].remaining = 0
#ifdef COUNT_FROM_ANSWER
  :: node[n].state == DONE && node[n].request == ACQUIRE -> node[n].remaining = LENGTH
  :: node[n].state == DONE && node[n].request == RENEW && BELIEVES(n) -> node[n].remaining = LENGTH
#else
  :: node[n].state == DONE && node[n].request == ACQUIRE ->
    node[n].remaining = (node[n].age < LENGTH -> LENGTH - node[n].age : 0)
  :: node[n].state == DONE && node[n].request == RENEW && BELIEVES(n) ->
    node[n].remaining = (node[n].age < LENGTH -> LENGTH - node[n].age : 0)
#endif
  :: node[n].state == DONE && node[n].request == RENEW && !BELIEVES(n)
  fi;
  node[n].request = 0; node[n].state = IDLE; node[n].age = 0
}

proctype Leader(byte n) {
end_node:
  do
  /* Stand: a lease under a new id. */
  :: d_step { node[n].state == IDLE && !BELIEVES(n) && node[n].rested ->
      node[n].rested = 0; node[n].generation = (node[n].generation + 1) % 4;
      node[n].lease = n * 4 + node[n].generation; wasBroken[n] = 0; send(n, ACQUIRE) }
  :: d_step { node[n].state == IDLE && BELIEVES(n) -> send(n, RENEW) }
  :: d_step { node[n].state == IDLE && BELIEVES(n) ->
#ifndef RELEASE_FIRST
      node[n].remaining = 0;
#endif
      send(n, RELEASE) }
  :: d_step { node[n].state == SENT -> arrive(n); check() }
  :: d_step { node[n].state == DONE || node[n].state == FAILED -> settle(n); check() }
  /* No answer comes: the next request is sent. (Late copies are election.pml's.) */
  :: d_step { node[n].state != IDLE && node[n].age >= LENGTH ->
      node[n].request = 0; node[n].state = IDLE; node[n].age = 0 }
  /* Another node has evidence against this one. */
  :: d_step { HOLDS(n) && breaks < BREAKS -> breaks++; left = 0; isBroken = 1; wasBroken[n] = 1 }
  od
}

#ifdef CLOCK_STOPS
byte sleeping; /* whose clock stands still */
#endif

proctype Time() {
end_time:
  do
  :: d_step {
      left = (left > 0 -> left - 1 : 0);
      for (i : 1 .. NODES) {
#ifdef CLOCK_STOPS
        if
        :: i == sleeping
        :: else ->
#endif
        node[i].rested = 1;
        node[i].remaining = (node[i].remaining > 0 -> node[i].remaining - 1 : 0);
        node[i].age = (node[i].state != IDLE && node[i].age < LENGTH -> node[i].age + 1 : node[i].age)
#ifdef CLOCK_STOPS
        fi
#endif
      }
      check() }
#ifdef CLOCK_STOPS
  :: d_step { sleeping == 0 && sleeps < SLEEPS -> sleeps++; sleeping = 1 }
  :: d_step { sleeping != 0 -> sleeping = 0 }
#endif
  od
}

init {
  atomic {
    for (i : 1 .. NODES) { node[i].state = IDLE; run Leader(i) }
    i = 0;
    run Time()
  }
}
