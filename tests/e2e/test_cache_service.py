"""The checklist of the cache service, row by row (the number stands in each test's name); the wire is spoken by hand."""

from __future__ import annotations

import concurrent.futures
import hashlib
import json
import os
import socket
import subprocess
import time
import urllib.parse
from pathlib import Path
from typing import Iterator

import pytest

from .support.cacheservice import MAIN, PULL, READ, TWIRP, V, V1, CacheService, Job, block_id

OTHER = hashlib.sha256(b"other").hexdigest()


@pytest.fixture
def caches(place: Path) -> Iterator[CacheService]:
    started = CacheService(place)
    yield started
    started.stop()


@pytest.fixture
def t(caches: CacheService) -> Job:
    return caches.job(MAIN)


def code(answer: object) -> tuple[int, str]:
    return answer.status, answer.json["code"]  # type: ignore[attr-defined]


def test_row_1_unknown_keys_are_misses(t: Job) -> None:
    miss = t.lookup("nothing")
    assert (miss.status, miss.body) == (204, b"")
    assert t.get("nothing").json == {"ok": False}


def test_row_2_an_entry_is_there_at_once(t: Job, caches: CacheService) -> None:
    made = t.create("k").json
    assert caches.put(made["signed_upload_url"], b"foobar").status == 201
    done = t.finalize("k", 6).json
    assert done["ok"] and isinstance(done["entry_id"], str) and int(done["entry_id"]) > 0
    got = t.get("k").json
    assert got["matched_key"] == "k" and caches.download(got["signed_download_url"]) == b"foobar"
    old = t.lookup("k").json
    assert old["cacheKey"] == "k" and old["scope"] == "refs/heads/main" and old["cacheVersion"] == V
    assert caches.download(old["archiveLocation"]) == b"foobar"


def test_row_3_prefixes(t: Job) -> None:
    for key in ("p-foo22", "p-fo", "p-foo1"):
        t.save(key, key.encode())
    assert [t.match(key) for key in ("p-foo", "p-", "p-foo3", "p-foo2")] == ["p-foo1", "p-foo1", None, "p-foo22"]


def test_row_4_exact_before_newer_and_longer(t: Job) -> None:
    t.save("e", b"1")
    t.save("e-longer", b"2")
    assert t.match("e") == "e"
    # Of the keys in order, the first that hits at all.
    assert t.match("none", "e-l", "e") == "e-longer"


def test_row_5_newest_not_lexical(t: Job) -> None:
    for i in range(1, 11):
        t.save(f"i#{i}", b"x")
    assert (t.match("i"), t.match("i#")) == ("i#10", "i#10")


def test_row_5_newest_among_many(t: Job) -> None:
    """More than are looked at one by one."""
    for i in range(300):
        t.save(f"many-{(i * 7919) % 300:04}", b"x")
    assert t.match("many-") == f"many-{(299 * 7919) % 300:04}"
    assert t.match("many-01") == max((f"many-{(i * 7919) % 300:04}" for i in range(300) if (i * 7919) % 300 // 100 == 1),
                                     key=lambda key: [f"many-{(i * 7919) % 300:04}" for i in range(300)].index(key))


def test_row_6_another_version(t: Job) -> None:
    t.save("k", b"1")
    assert t.match("k", version=OTHER) is None
    t.save("k", b"2", OTHER)
    assert (t.load("k"), t.load("k", OTHER)) == (b"1", b"2")


def test_row_7_a_committed_key_is_taken(t: Job) -> None:
    t.save("k", b"1")
    again = t.create("k")
    assert code(again) == (409, "already_exists")
    # BuildKit's client goes on only without `message` or with these words in it.
    assert "already exists" in again.json.get("message", "already exists")
    old = t.reserve("k")
    assert old.status == 409 and "AlreadyExists" in old.json["typeKey"] and "Key: k" in old.json["message"]
    assert t.load("k") == b"1"


def test_row_8_one_of_fifty_wins(t: Job) -> None:
    with concurrent.futures.ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(lambda i: t.create("race") if i % 2 else t.reserve("race"), range(50)))
    statuses = sorted(a.status for a in answers)
    assert statuses[0] in (200, 201) and statuses[1:] == [409] * 49


def test_row_9_reserved_is_invisible(t: Job, caches: CacheService) -> None:
    url = t.create("k").json["signed_upload_url"]
    assert t.match("k") is None
    caches.put(url, b"x")
    assert t.match("k") is None and t.lookup("k").status == 204


def test_row_10_blocks_in_the_list_s_order(t: Job, caches: CacheService) -> None:
    url = t.create("k").json["signed_upload_url"]
    ids = [block_id("\xfb\xff\xfe" + str(i)) for i in range(3)]
    assert any(c in "".join(ids) for c in "+/=")
    for i in (2, 0, 1):
        assert caches.block(url, ids[i], f"part{i}".encode()).status == 201
    assert caches.block(url, ids[1], b"PART-ONE").status == 201  # the same id again: its last bytes count
    assert caches.block_list(url, ids).status == 201
    assert t.finalize("k", 18).json["ok"]
    assert t.load("k") == b"part0PART-ONEpart2"


def test_row_10_list_again_and_other_words(t: Job, caches: CacheService) -> None:
    url = t.create("k").json["signed_upload_url"]
    a, b, c = block_id("a"), block_id("b"), block_id("c")
    for name, data in ((a, b"aa"), (b, b"bb"), (c, b"cc")):
        caches.block(url, name, data)
    assert caches.block_list(url, [b, a]).status == 201
    xml = f"\ufeff<?xml version='1.0'?>\n<BlockList>\n <Committed>{a}</Committed><Uncommitted>{b}</Uncommitted>\n<Latest> {a} </Latest></BlockList>\n"
    assert caches.block_list(url, [], xml).status == 201
    assert t.finalize("k", 6).json["ok"] and t.load("k") == b"aabbaa"


def test_row_11_bad_lists_change_nothing(t: Job, caches: CacheService) -> None:
    url = t.create("k").json["signed_upload_url"]
    a = block_id("a")
    caches.block(url, a, b"data")
    unknown = caches.block_list(url, [a, block_id("b")])
    assert unknown.status == 400 and b"InvalidBlockList" in unknown.body and unknown.headers["x-ms-error-code"] == "InvalidBlockList"
    for xml in ("", "<", "<BlockList>", f"<BlockList><Latest>{a}</Latest>", "<BlockList><Latest>*</Latest></BlockList>", "<Other/>",
                f"<BlockList><Latest>{a}</Uncommitted></BlockList>", f"<BlockList><Latest>{a}</Latest></BlockList>x",
                f"<BlockList><Latest>{'A' * 100}</Latest></BlockList>", "<BlockList><Latest></Latest></BlockList>"):
        assert caches.block_list(url, [], xml).status == 400, xml
    assert caches.block_list(url, [a] * 50001).status == 400
    assert caches.block_list(url, [a]).status == 201
    assert t.finalize("k", 4).json["ok"] and t.load("k") == b"data"


def test_row_11_as_many_blocks_as_there_may_be(t: Job, caches: CacheService) -> None:
    url = t.create("k").json["signed_upload_url"]
    caches.block(url, block_id("a"), b"x")
    assert caches.block_list(url, [block_id("a")] * 50000).status == 201
    assert t.finalize("k", 50000).json["ok"] and t.load("k") == b"x" * 50000


@pytest.mark.parametrize("size", [0, 1, 1 << 20, (1 << 20) + 1, 129 << 20])
def test_row_12_sizes(t: Job, size: int) -> None:
    data = os.urandom(min(size, 1 << 20)) * (size // (1 << 20) or 1)
    data += b"x" * (size - len(data))
    t.save("k", data)
    assert t.load("k") == data


def test_row_13_every_put_is_created(t: Job, caches: CacheService) -> None:
    url = t.create("k").json["signed_upload_url"]
    for answer in (caches.put(url, b"whole", x_ms_version="2026-04-06"), caches.block(url, block_id("a"), b"x"),
                   caches.block_list(url, [block_id("a")])):
        assert answer.status == 201 and answer.body == b"" and answer.headers["x-ms-request-id"]
        assert answer.headers["etag"].startswith('"') and answer.headers["last-modified"].endswith("GMT") and answer.headers["date"]
    assert caches.put(url, b"whole", x_ms_version="2026-04-06").headers["x-ms-version"] == "2026-04-06"


def test_row_14_ranges(t: Job, caches: CacheService) -> None:
    t.save("k", b"0123456789abcdef")
    url = t.get("k").json["signed_download_url"]

    def ask(**headers: str) -> tuple[int, bytes, str]:
        got = caches.request("GET", url, None, {k.replace("_", "-"): v for k, v in headers.items()})
        return got.status, got.body, got.headers.get("content-range", "")

    assert ask(x_ms_range="bytes=5-") == (206, b"56789abcdef", "bytes 5-15/16")
    assert ask(Range="bytes=5-9") == (206, b"56789", "bytes 5-9/16")
    assert ask(Range="bytes=0-1", x_ms_range="bytes=3-3") == (206, b"3", "bytes 3-3/16")
    assert ask(Range="bytes=-4") == (206, b"cdef", "bytes 12-15/16")
    assert ask(Range="bytes=10-99") == (206, b"abcdef", "bytes 10-15/16")
    for odd in ("bytes=5-3", "items=1-2", "bytes=", "bytes=1-2,4-5", "bytes=a-b", "bytes=99999999999999999999-"):
        assert ask(Range=odd)[:2] == (200, b"0123456789abcdef"), odd


def test_row_15_range_behind_the_end(t: Job, caches: CacheService) -> None:
    t.save("k", b"0123456789")
    t.save("empty", b"")
    for key, size in (("k", 10), ("empty", 0)):
        got = caches.request("GET", t.get(key).json["signed_download_url"], None, {"Range": "bytes=10-"})
        assert got.status == 416 and got.headers["content-range"] == f"bytes */{size}" and b"InvalidRange" in got.body


def test_row_16_head(t: Job, caches: CacheService) -> None:
    t.save("k", b"x" * 1000)
    got = caches.request("HEAD", t.get("k").json["signed_download_url"])
    assert got.status == 200 and got.headers["content-length"] == "1000" and got.body == b""
    assert got.headers["etag"] and got.headers["accept-ranges"] == "bytes" and got.headers["x-ms-blob-type"] == "BlockBlob"
    assert "content-encoding" not in got.headers


def test_row_17_a_wrong_size_frees_the_key(t: Job, caches: CacheService) -> None:
    url = t.create("k").json["signed_upload_url"]
    caches.put(url, b"foobar")
    assert code(t.finalize("k", 7)) == (400, "invalid_argument")
    assert t.match("k") is None
    t.save("k", b"again")
    assert t.create("nothing").json["ok"]
    assert code(t.finalize("nothing", 0)) == (400, "invalid_argument")
    t.save("nothing", b"")


def test_row_18_finalize_unknown_and_twice(t: Job, caches: CacheService) -> None:
    assert code(t.finalize("never", 6)) == (404, "not_found")
    t.save("k", b"foobar")
    first, second = t.finalize("k", 6).json, t.finalize("k", 6).json
    assert first == second and first["ok"]
    assert code(t.finalize("k", 7)) == (404, "not_found")


def test_row_19_committed_bytes_never_change(t: Job, caches: CacheService) -> None:
    url = t.create("k").json["signed_upload_url"]
    caches.put(url, b"foobar")
    t.finalize("k", 6)
    for answer in (caches.put(url, b"other!"), caches.block(url, block_id("a"), b"x"), caches.block_list(url, [])):
        assert answer.status == 409
    assert t.load("k") == b"foobar"


def cut(caches: CacheService, head: str, body: bytes) -> None:
    with socket.create_connection(("127.0.0.1", caches.port)) as s:
        s.sendall(head.replace("\n", "\r\n").encode() + b"\r\n" + body)
        time.sleep(0.1)


def test_row_20_a_cut_part_does_not_count(t: Job, caches: CacheService) -> None:
    url = t.create("k").json["signed_upload_url"].removeprefix(caches.origin)
    cut(caches, f"PUT {url} HTTP/1.1\nHost: x\nContent-Length: 6\n", b"foo")
    a = urllib.parse.quote(block_id("a"), safe="")
    cut(caches, f"PUT {url}&comp=block&blockid={a} HTTP/1.1\nHost: x\nContent-Length: 6\n", b"foo")
    assert caches.block_list(url, [block_id("a")]).status == 400
    assert caches.block(url, block_id("a"), b"foobar").status == 201
    assert caches.block_list(url, [block_id("a")]).status == 201
    assert t.finalize("k", 6).json["ok"] and t.load("k") == b"foobar"
    cache = t.reserve("v1").json["cacheId"]
    cut(caches, f"PATCH {V1}caches/{cache} HTTP/1.1\nHost: x\nAuthorization: Bearer {t.token}\nContent-Range: bytes 0-5/*\n"
                 "Transfer-Encoding: chunked\n", b"3\r\nfoo\r\n")
    assert t.patch(cache, 0, b"foobar").status == 204
    assert t.commit(cache, 6).status == 204 and t.load("v1") == b"foobar"


def test_row_20_a_cut_part_alone_is_no_entry(t: Job, caches: CacheService) -> None:
    cache = t.reserve("v1").json["cacheId"]
    cut(caches, f"PATCH {V1}caches/{cache} HTTP/1.1\nHost: x\nAuthorization: Bearer {t.token}\nContent-Range: bytes 0-5/*\n"
                 "Transfer-Encoding: chunked\n", b"6\r\nfoobar\r\n")  # without the last chunk
    assert t.commit(cache, 6).status == 400 and t.match("v1") is None


def test_row_21_v1_in_any_order(t: Job) -> None:
    data = os.urandom(3 << 20)
    cache = t.reserve("k", cacheSize=len(data)).json["cacheId"]
    starts = list(range(0, len(data), 400_000))[::-1]
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda s: t.patch(cache, s, data[s:s + 400_000]), starts))
    assert {a.status for a in answers} == {204}
    assert t.patch(cache, 0, data[:400_000]).status == 204  # the same once more
    assert t.commit(cache, len(data)).status == 204 and t.load("k") == data


def test_row_21_v1_chunked(t: Job, caches: CacheService) -> None:
    cache = t.reserve("k").json["cacheId"]
    data = os.urandom(100_000)
    parts = iter([data[:1], data[1:70_000], data[70_000:]])
    answer = caches.request("PATCH", f"{V1}caches/{cache}", parts, {"Authorization": f"Bearer {t.token}", "Content-Range": "bytes 0-99999/*",
                                                                     "Transfer-Encoding": "chunked"})
    assert answer.status == 204 and t.commit(cache, len(data)).status == 204 and t.load("k") == data


def test_row_21_v1_empty(t: Job) -> None:
    cache = t.reserve("k").json["cacheId"]
    assert t.commit(cache, 0).status == 204 and t.load("k") == b""


def test_row_22_v1_holes_and_overlaps(t: Job) -> None:
    hole = t.reserve("hole").json["cacheId"]
    t.patch(hole, 0, b"abc"), t.patch(hole, 6, b"ghi")
    assert t.commit(hole, 9).status == 400
    lap = t.reserve("lap").json["cacheId"]
    assert t.patch(lap, 0, b"abcdef").status == 204
    assert t.patch(lap, 3, b"xyz---").status == 400
    assert t.commit(lap, 9).status == 400
    size = t.reserve("size").json["cacheId"]
    t.patch(size, 0, b"abc")
    assert t.commit(size, 2).status == 400
    assert [t.match(k) for k in ("hole", "lap", "size")] == [None] * 3


def test_row_23_v1_content_range(t: Job) -> None:
    cache = t.reserve("k").json["cacheId"]
    assert t.call("PATCH", f"{V1}caches/{cache}", b"abc").status == 400
    for bad in ("bytes 5-3/*", "bytes -1-3/*", "bytes 9223372036854775806-9223372036854775808/*", "bytes 18446744073709551616-3/*", "0-2", "",
                "bytes 0-2", "bytes 0-1/*", "bytes 0-9/*", "bytes 0-2/x"):
        assert t.patch(cache, 0, b"abc", bad).status == 400, bad
    assert t.patch(cache, 0, b"abc").status == 204


def test_row_24_another_job_s_id(t: Job, caches: CacheService) -> None:
    other = caches.job(MAIN)
    cache = t.reserve("k").json["cacheId"]
    assert other.patch(cache, 0, b"abc").status == 404 and other.commit(cache, 0).status == 404
    assert t.patch(cache, 0, b"abc").status == 204 and t.commit(cache, 3).status == 204
    assert t.patch(cache + 1000, 0, b"abc").status == 404
    assert t.patch(cache, 0, b"abc").status == 409 and t.commit(cache, 3).status == 409  # committed


def test_row_25_keys_are_decoded_then_split(t: Job) -> None:
    t.save("b c#", b"x")
    got = t.call("GET", f"{V1}cache?keys=a%2Cb+c%23&version={V}")
    assert got.status == 200 and got.json["cacheKey"] == "b c#"
    got = t.call("GET", f"{V1}caches?key=b+c")
    assert got.json["totalCount"] == 1 and got.json["artifactCaches"][0]["cacheKey"] == "b c#"


def test_row_26_keys(t: Job) -> None:
    assert t.create("").status == 400
    assert t.create("x" * 513).status == 400
    assert t.create("a\0b").status == 400
    for key in ("../../x", "\N{ROCKET}" * 512, "x" * 512):
        t.save(key, b"1")
        assert t.match(key) == key
    assert t.get("k", *map(str, range(10))).status == 400 and t.get("k", *map(str, range(9))).status == 200
    assert t.lookup(",".join(map(str, range(11)))).status == 400 and t.lookup(",".join(map(str, range(10)))).status == 204
    assert t.call("GET", f"{V1}cache?keys=a%00b&version={V}").status == 400
    assert t.create("k", "").status == 400


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b'"x"', b"\xff\xfe", b"{}{}"])
def test_row_27_bodies(t: Job, body: bytes) -> None:
    for path in (f"{TWIRP}CacheService/CreateCacheEntry", f"{V1}caches"):
        got = t.call("POST", path, body)
        assert got.status == 400 and isinstance(got.json, dict), got


def test_row_27_too_much(t: Job) -> None:
    got = t.call("POST", f"{TWIRP}CacheService/CreateCacheEntry", b" " * (2 << 20))
    assert got.status == 413 and got.json["msg"]


def test_row_28_numbers(t: Job, caches: CacheService) -> None:
    for key, size in (("a", "6"), ("b", 6)):
        caches.put(t.create(key).json["signed_upload_url"], b"foobar")
        done = t.twirp("FinalizeCacheEntryUpload", key=key, sizeBytes=size, version=V, metadata={"repository_id": "1"}, unknown=[1])
        assert done.status == 200 and done.json["ok"]
    for size in ("x", -1, "-1", 6.5, [], 1e300, "99999999999999999999"):
        caches.put(t.create("c").json.get("signed_upload_url", ""), b"foobar") if t.match("c") is None else None
        assert t.finalize("c", size).status == 400, size


def test_row_29_unknown_calls(t: Job) -> None:
    assert code(t.twirp("NoSuchThing")) == (404, "bad_route")
    assert code(t.call("GET", f"{TWIRP}CacheService/CreateCacheEntry")) == (404, "bad_route")
    assert t.call("GET", "/other").json["code"] == "bad_route"
    assert t.call("DELETE", f"{V1}caches/1").status == 404


def test_row_30_tokens(t: Job, caches: CacheService) -> None:
    stranger = Job(caches, caches.job(MAIN).token, "", "", "")
    ended = caches.job(MAIN)
    caches.end(ended)
    late = caches.job(MAIN, expires=int(time.time()) - 10)
    for token in ("", "garbage", stranger.token[:-1], ended.token, late.token, "x" * 20000):
        job = Job(caches, token, "", "", "")
        for answer in (job.get("k"), job.lookup("k"), job.create("k")):
            assert answer.status == 401 and isinstance(answer.json, dict)
    assert caches.request("POST", f"{TWIRP}CacheService/CreateCacheEntry", b"{}").status == 401


def test_row_31_signed_urls(t: Job, caches: CacheService) -> None:
    other = caches.job(MAIN)
    write = t.create("w").json["signed_upload_url"]
    t.save("k", b"secret")
    read, foreign = t.get("k").json["signed_download_url"], other.get("k").json["signed_download_url"]
    id_ = read.split("/cache/")[1].split("?")[0]
    broken = [read[:-1] + ("0" if read[-1] != "0" else "1"), read.replace("se=", "se=9"), read.replace(f"/cache/{id_}", "/cache/999"),
              read.replace("/cache/", "/artifact/"), read.replace(f"j={t.id}", f"j={other.id}"), write, read.split("?")[0],
              read.replace("sp=r", "sp=w"), read + "x"]
    for url in broken:
        got = caches.request("GET", url)
        assert got.status == 403 and got.headers["content-type"] == "application/xml" and b"AuthenticationFailed" in got.body, url
    assert caches.put(read, b"x").status == 403
    caches.end(other)
    assert caches.request("GET", foreign).status == 403
    assert caches.download(read) == b"secret"


def test_row_32_urls_in_another_order(t: Job, caches: CacheService) -> None:
    made = t.create("k").json["signed_upload_url"]
    path, _, query = made.partition("?")
    pairs = sorted(query.split("&"), reverse=True)
    url = f"{path}?timeout=30&" + "&".join(p.replace("-", "%2D") for p in pairs)
    assert caches.put(url, b"foobar").status == 201
    assert t.finalize("k", 6).json["ok"]


def test_row_33_scopes(t: Job, caches: CacheService) -> None:
    pull, other = caches.job(PULL), caches.job([("refs/pull/2/merge", 3), ("refs/heads/main", 1)])
    elsewhere = caches.job(MAIN, repository="acme/other")
    t.save("k", b"main")
    pull.save("p", b"pull")
    assert pull.load("k") == b"main" and pull.load("p") == b"pull"
    assert [job.match(key) for job, key in ((t, "p"), (other, "p"), (elsewhere, "k"), (elsewhere, "p"))] == [None] * 4
    assert elsewhere.lookup("k").status == 204 and elsewhere.call("GET", f"{V1}caches?key=k").json["totalCount"] == 0
    # A URL of one repository's entry is good for its own job alone; names of repositories are the same in any case.
    assert caches.job(MAIN, repository="ACME/Web").match("k") == "k"


def test_row_34_the_own_scope_first(t: Job, caches: CacheService) -> None:
    pull = caches.job(PULL)
    pull.save("k", b"pull")
    t.save("k", b"main")
    t.save("k-newer", b"main")
    assert pull.load("k") == b"pull" and t.load("k") == b"main"
    assert pull.match("k-n", "k") == "k"  # the scope comes before the order of the keys


def test_row_35_no_right_to_write(caches: CacheService) -> None:
    reader = caches.job(READ)
    made = reader.create("k")
    assert made.status == 200 and made.json["ok"] is False and made.json["message"].startswith("cache write denied:")
    old = reader.reserve("k")
    assert old.status == 403 and old.json["message"].startswith("cache write denied:")


def test_row_36_no_right_to_read(caches: CacheService) -> None:
    writer = caches.job([("refs/heads/main", 2)])
    for answer in (writer.get("k"), writer.lookup("k")):
        assert answer.status == 403 and "cache read denied:" in answer.json["message"]


def test_row_37_killed_in_mid_upload(t: Job, caches: CacheService) -> None:
    url = t.create("k").json["signed_upload_url"]
    first, second = os.urandom(1 << 20), os.urandom(1 << 20)
    assert caches.block(url, block_id("a"), first).status == 201
    with socket.create_connection(("127.0.0.1", caches.port)) as s:
        head = f"PUT {url.removeprefix(caches.origin)}&comp=block&blockid={block_id('b').replace('=', '%3D')} HTTP/1.1\r\nHost: x\r\nContent-Length: {1 << 20}\r\n\r\n"
        s.sendall(head.encode() + second[: 1 << 19])
        time.sleep(0.1)
        caches.restart()
    assert caches.block(url, block_id("b"), second).status == 201
    assert caches.block_list(url, [block_id("a"), block_id("b")]).status == 201
    assert t.finalize("k", 2 << 20).json["ok"] and t.load("k") == first + second
    cache = t.reserve("v1").json["cacheId"]
    t.patch(cache, 3, b"def")
    caches.restart()
    t.patch(cache, 0, b"abc")
    assert t.commit(cache, 6).status == 204 and t.load("v1") == b"abcdef"


def test_row_38_killed_before_and_in_finalize(t: Job, caches: CacheService) -> None:
    url = t.create("k").json["signed_upload_url"]
    caches.block(url, block_id("b"), b"two"), caches.block(url, block_id("a"), b"one")
    assert caches.block_list(url, [block_id("a"), block_id("b")]).status == 201
    caches.restart()
    assert t.finalize("k", 6).json["ok"] and t.load("k") == b"onetwo"
    data = os.urandom(8 << 20)
    for i in range(8):
        key = f"x{i}"
        caches.put(t.create(key).json["signed_upload_url"], data + bytes([i]))
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            going = pool.submit(t.finalize, key, len(data) + 1)
            time.sleep(0.002 * i)
            caches.restart()
            going.exception()
        if t.match(key) is None:
            assert t.finalize(key, len(data) + 1).json["ok"]
        assert t.load(key) == data + bytes([i])


def test_row_39_a_reservation_ends(place: Path) -> None:
    caches = CacheService(place, {"reserveSeconds": 1})
    try:
        t = caches.job(MAIN)
        url = t.create("k").json["signed_upload_url"]
        assert t.create("k").status == 409
        caches._wait(lambda: t.create("k").status == 200, 20)
        late = caches.put(url, b"late")
        assert late.status == 404 and b"<Code>BlobNotFound</Code>" in late.body
        cache = t.reserve("other").json["cacheId"]
        caches.end(t)  # with the job, at once
        again = caches.job(MAIN)
        assert again.reserve("other").status == 201
        assert again.patch(cache, 0, b"x").status == 404
    finally:
        caches.stop()


def test_row_40_eviction(place: Path) -> None:
    caches = CacheService(place, {"repositoryMax": 10 << 20})
    try:
        t, pull = caches.job(MAIN), caches.job(PULL)
        t.save("main", os.urandom(2 << 20))
        old = os.urandom(4 << 20)
        pull.save("old", old)
        url = pull.get("old").json["signed_download_url"].removeprefix(caches.origin)
        with socket.create_connection(("127.0.0.1", caches.port)) as s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
            s.sendall(f"GET {url} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
            got = s.recv(1000)
            for i in range(6):
                pull.save(f"flood{i}", os.urandom(2 << 20))
            assert pull.match("old") is None and pull.match("flood5") == "flood5"
            while data := s.recv(1 << 20):
                got += data
        assert got.partition(b"\r\n\r\n")[2] == old
        assert t.match("main") == "main"
    finally:
        caches.stop()


def test_row_41_too_many_entries(place: Path) -> None:
    caches = CacheService(place, {"perMinute": 5})
    try:
        t = caches.job(MAIN)
        for i in range(5):
            assert t.create(f"k{i}").status == 200
        for answer in (t.create("k5"), t.reserve("k5")):
            assert answer.status == 429 and int(answer.headers["retry-after"]) > 0 and isinstance(answer.json, dict)
        assert caches.job(MAIN, repository="acme/other").create("k5").status == 200
    finally:
        caches.stop()


def test_row_42_a_blob_that_is_not_what_its_key_says(t: Job, caches: CacheService) -> None:
    good = b"layer"
    right, wrong = (f"buildkit-blob-1-sha256:{hashlib.sha256(x).hexdigest()}" for x in (good, b"other"))
    t.save(right, good)
    caches.put(t.create(wrong).json["signed_upload_url"], good)
    assert code(t.finalize(wrong, len(good))) == (400, "invalid_argument")
    assert (t.match(right), t.match(wrong)) == (right, None)


def test_row_43_no_room_at_the_start(place: Path) -> None:
    caches = CacheService(place, {"leastFree": 1 << 60})
    try:
        t = caches.job(MAIN)
        made = t.create("k")
        assert made.status == 200 and made.json["ok"] is False and "no space" in made.json["message"]
        old = t.reserve("k")
        assert old.status == 400 and "no space" in old.json["message"]
    finally:
        caches.stop()


@pytest.mark.skipif(os.getuid() != 0, reason="mounts a small file system")
def test_row_43_disk_full_in_mid_upload(place: Path) -> None:
    disk = place / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=48m", "none", str(disk)], check=True)
    service = None
    try:
        disk.chmod(0o755)
        service = CacheService(disk, {"leastFree": 1})
        t = service.job(MAIN)
        url = t.create("whole").json["signed_upload_url"]
        answer = service.put(url, b"x" * (60 << 20))
        assert answer.status == 413 and answer.headers["content-type"] == "application/xml", answer
        assert service.put(url, b"x").status == 404 and t.match("whole") is None
        cache = t.reserve("v1").json["cacheId"]
        old = t.patch(cache, 0, b"x" * (60 << 20))
        assert old.status == 413 and isinstance(old.json, dict)
        # Its room is free again, and the service goes on.
        data = os.urandom(30 << 20)
        t.save("fits", data)
        assert t.load("fits") == data
    finally:
        if service is not None:
            service.stop()
        subprocess.run(["umount", "-l", str(disk)], check=False)


def varint(value: int) -> bytes:
    out = b""
    while value >= 0x80:
        out, value = out + bytes([value & 0x7F | 0x80]), value >> 7
    return out + bytes([value])


def text(number: int, value: str) -> bytes:
    return varint(number << 3 | 2) + varint(len(value.encode())) + value.encode()


def test_row_44_protobuf(t: Job, caches: CacheService) -> None:
    def call(method: str, body: bytes) -> tuple[int, str, bytes]:
        got = t.call("POST", f"{TWIRP}CacheService/{method}", body, Content_Type="application/protobuf")
        return got.status, got.headers["content-type"], got.body

    metadata = varint(1 << 3 | 2) + varint(2) + varint(1 << 3) + varint(7)
    status, kind, body = call("CreateCacheEntry", metadata + text(2, "k") + text(3, V))
    assert (status, kind, body[:2]) == (200, "application/protobuf", b"\x08\x01")
    url = body[body.index(b"http"):].decode()
    assert caches.put(url, b"foobar").status == 201
    status, kind, body = call("FinalizeCacheEntryUpload", text(2, "k") + varint(3 << 3) + varint(6) + text(4, V))
    assert (status, kind) == (200, "application/protobuf") and body.startswith(b"\x08\x01\x10")
    status, kind, body = call("GetCacheEntryDownloadURL", text(2, "z") + text(3, "k") + text(4, V))
    assert status == 200 and body.endswith(text(3, "k")) and b"/_blob/cache/" in body
    for bad in (b"\xff", b"\x0a\x05x", text(2, "a\0b") + text(3, V)):
        status, kind, body = call("CreateCacheEntry", bad)
        assert status == 400 and kind == "application/json" and json.loads(body)["code"] == "malformed"


def test_row_45_artifacts(t: Job, caches: CacheService) -> None:
    made = t.artifact("CreateArtifact", name="foo", version=7, mime_type="application/zip", expires_at="2099-01-01T00:00:00.000Z")
    assert made.status == 200 and made.json["ok"]
    url = made.json["signed_upload_url"]
    caches.block(url, block_id("a"), b"zip!")
    answer = caches.request("PUT", f"{url}&comp=blocklist", f"<BlockList><Latest>{block_id('a')}</Latest></BlockList>".encode(), {"x-ms-blob-content-type": "zip"})
    assert answer.status == 201
    digest = "sha256:" + hashlib.sha256(b"zip!").hexdigest()
    assert t.artifact("ListArtifacts").json["artifacts"] == []
    assert t.artifact("CreateArtifact", name="foo", version=7).status == 409
    done = t.artifact("FinalizeArtifact", name="foo", size="4", hash=digest).json
    assert done["ok"] and isinstance(done["artifact_id"], str)
    t2 = t.artifact("CreateArtifact", name="bar.txt", version=7, mime_type="text/plain").json
    caches.put(t2["signed_upload_url"], b"text", x_ms_blob_content_type="text/plain")
    assert t.artifact("FinalizeArtifact", name="bar.txt", size="4").json["ok"]
    listed = t.artifact("ListArtifacts").json["artifacts"]
    assert [a["name"] for a in listed] == ["bar.txt", "foo"]
    foo = listed[1]
    assert foo == {"workflow_run_backend_id": t.run, "workflow_job_run_backend_id": foo["workflow_job_run_backend_id"], "database_id": done["artifact_id"],
                   "name": "foo", "size": "4", "created_at": foo["created_at"], "digest": digest}
    assert [a["name"] for a in t.artifact("ListArtifacts", name_filter="foo").json["artifacts"]] == ["foo"]
    assert [a["name"] for a in t.artifact("ListArtifacts", id_filter=done["artifact_id"]).json["artifacts"]] == ["foo"]
    assert t.artifact("ListArtifacts", name_filter="fo").json["artifacts"] == []
    # With the ids of the list's answer.
    signed = t.artifact("GetSignedArtifactURL", backend=foo["workflow_job_run_backend_id"], name="foo").json["signed_url"]
    got = caches.request("GET", signed)
    assert (got.status, got.body, got.headers["content-type"]) == (200, b"zip!", "application/zip")
    assert got.headers["content-disposition"] == "attachment; filename*=UTF-8''foo.zip"
    other = caches.request("GET", t.artifact("GetSignedArtifactURL", name="bar.txt").json["signed_url"])
    assert other.headers["content-type"] == "text/plain" and "filename*=UTF-8''bar.txt" in other.headers["content-disposition"]
    # Another job of the same run sees them; another run doesn't, and may not name this one.
    sibling = caches.job(MAIN, run=t.run)
    assert len(sibling.artifact("ListArtifacts").json["artifacts"]) == 2
    stranger = caches.job(MAIN)
    assert stranger.artifact("ListArtifacts").json["artifacts"] == []
    for method in ("CreateArtifact", "FinalizeArtifact", "ListArtifacts", "GetSignedArtifactURL", "DeleteArtifact"):
        assert code(stranger.artifact(method, run=t.run, name="foo", size="4")) == (403, "permission_denied")
    assert t.artifact("DeleteArtifact", name="foo").json == {"ok": True, "artifact_id": done["artifact_id"]}
    assert [a["name"] for a in t.artifact("ListArtifacts").json["artifacts"]] == ["bar.txt"]
    assert t.artifact("DeleteArtifact", name="foo").status == 404


def test_row_45_artifacts_are_verified(t: Job, caches: CacheService) -> None:
    for name, size, digest in (("a", "5", None), ("b", "4", "sha256:" + "0" * 64)):
        caches.put(t.artifact("CreateArtifact", name=name, version=7).json["signed_upload_url"], b"zip!")
        assert t.artifact("FinalizeArtifact", name=name, size=size, **({"hash": digest} if digest else {})).status == 400
    assert t.artifact("ListArtifacts").json["artifacts"] == []
    for name in ("a/b", 'a"b', "a\nb", ""):
        assert t.artifact("CreateArtifact", name=name, version=7).status == 400


# ---- beside the rows -----------------------------------------------------------------------------------------------------


def test_headers_have_a_bound(t: Job) -> None:
    assert t.call("GET", f"{V1}cache?keys=a&version={V}", X="y" * 20000).status == 204
    assert t.call("GET", f"{V1}cache?keys=a&version={V}", X="y" * 40000).status == 431


def test_content_md5_is_verified(t: Job, caches: CacheService) -> None:
    import base64
    url = t.create("k").json["signed_upload_url"]
    md5 = base64.b64encode(hashlib.md5(b"foobar").digest()).decode()
    assert caches.put(url, b"foobar", Content_MD5=md5).status == 201
    bad = caches.put(url, b"foobaz", Content_MD5=md5)
    assert bad.status == 400 and b"Md5Mismatch" in bad.body


def test_idle_connections_are_closed(t: Job, caches: CacheService) -> None:
    with socket.create_connection(("127.0.0.1", caches.port)) as s:
        s.sendall(f"POST {TWIRP}CacheService/X HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n".encode())
        assert s.recv(4096).startswith(b"HTTP/1.1 401")
        began = time.monotonic()
        s.settimeout(20)
        assert s.recv(1) == b""
        assert time.monotonic() - began < 9


def test_sixty_four_clients_at_once(t: Job, caches: CacheService) -> None:
    blobs = [os.urandom(300_000 + i) for i in range(64)]
    with concurrent.futures.ThreadPoolExecutor(64) as pool:
        list(pool.map(lambda i: t.save(f"c{i}", blobs[i]), range(64)))
        assert list(pool.map(lambda i: t.load(f"c{i}"), range(64))) == blobs


def test_ended_jobs_leave_nothing(t: Job, caches: CacheService) -> None:
    caches.put(t.create("k").json["signed_upload_url"], b"x" * 100_000)
    caches.end(t)
    caches._wait(lambda: not [p for p in (caches.state / "uploads").iterdir() if p.name != "key"])


def test_secrets_stay_out_of_the_log(t: Job, caches: CacheService) -> None:
    t.save("k", b"x")
    url = t.get("k").json["signed_download_url"]
    caches.request("GET", url[:-1] + "x")
    log = caches.log.read_text()
    assert t.token not in log and "sig=" not in log and url.split("sig=")[1] not in log
    key = caches.state / "uploads" / "key"
    assert key.stat().st_mode & 0o777 == 0o600 and len(key.read_bytes()) == 32
