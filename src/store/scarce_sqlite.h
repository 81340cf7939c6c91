// SPDX-License-Identifier: Apache-2.0
/* For tests: SQLite's allocations are counted and refused with the program's own (base/scarce.h).
 */
#ifndef STORE_SCARCE_SQLITE_H
#define STORE_SCARCE_SQLITE_H

/* Before SQLite is used. */
void scarce_sqlite(void);

#endif
