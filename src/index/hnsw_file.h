/* Private to src/index: the layout of a saved graph, shared by save and load.
 *
 * All integers little-endian. The outer layer is a run of frames:
 *
 *     u32 n            payload bytes, 1 .. QV_HNSW_FRAME_BYTES; 0 ends the file
 *     n bytes          payload
 *     u64 hash         XXH3-64 of the payload, seeded with the frame's number (from 0)
 *
 * The closing frame (n = 0) carries as its hash the XXH3-64 of the u64 total of payload bytes,
 * seeded with its number: a file cut at a frame's end is no shorter file. What follows it is not
 * read. The payloads put together are:
 *
 *     header           QV_HNSW_HEADER_BYTES: magic, u32 version, metric, dtype, dim, m, m0,
 *                      ef_construct, slot_bound, u64 seed
 *     nodes            by ascending slot, each: u32 slot, u32 generation, u8 level, u8 live, u16 0,
 *                      then for each level from 0: u16 n, n u32 links, each below QV_SLOTS_MAX
 *     end              u32 QV_SLOT_NONE, u32 nodes, u32 entry slot (QV_SLOT_NONE: none)
 *
 * A graph is valid if and only if every hash fits, every field is in its range, slots ascend, no
 * list exceeds its capacity, holds its own node or a slot twice, and the count of nodes is right.
 * A link may lead to a slot that the file does not hold: it was inserted while the file was
 * written. Version 1 is the only one so far. */
#ifndef QV_INDEX_HNSW_FILE_H
#define QV_INDEX_HNSW_FILE_H

#define QV_HNSW_MAGIC "QVHNSW\r\n"
#define QV_HNSW_MAGIC_BYTES 8u
#define QV_HNSW_VERSION 1u
#define QV_HNSW_HEADER_BYTES 48u
#define QV_HNSW_FRAME_BYTES 65536u

#endif
