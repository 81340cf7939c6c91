// SPDX-License-Identifier: Apache-2.0
/*
 * Bugs on purpose, to see that the simulator sees them: MUTATION(n) is true where the n-th one is
 * to be made. In all but the one program that tests this it is the constant false, and nothing of
 * it is left.
 *
 *    1  acknowledge before the commit          7  do not record a poll
 *    2  forget a wake-up                       8  forget the input at a restart
 *    3  deliver results twice                  9  use ids again
 *    4  take the answer to an older run       10  run before the commit
 *    5  resume early                          11  deliver what was given up
 *    6  lose the results of a failed run      12  append wherever it says
 *   13  forget when a tree that sleeps is due
 *   14  remove by age since the creation, not since the end
 *   15  the root that had its turn has the next   16  so has the organization
 *   17  low priorities wait until the higher ones have nothing
 *   18  the group that had its turn has the next
 */
#ifndef ENGINE_MUTATION_H
#define ENGINE_MUTATION_H

#ifdef MUTATIONS
extern unsigned engine_mutation; /* 0: none */
#define MUTATION(n) (engine_mutation == (n))
#else
#define MUTATION(n) false
#endif

#endif
