"""Valid files, one or a few per parser, from which mutations start."""

from __future__ import annotations

import json
import struct


def header(value: object) -> bytes:
    text = json.dumps(value).encode()
    return struct.pack("<Q", len(text)) + text + bytes(16)


TOML = b"[model]\nwidth = 64\n[model.attention]\nname = 'linear'\n[training]\nsteps = 5\n"
LOCK = (
    b'{"accession": "GCF_000001.1", "taxid": 1, "url": "https://a.example/x.fna.gz", "md5": "00", '
    b'"bytes": 5, "lineage": [[1, "a", "species"]], "annotation": [{"format": "gff", "url": '
    b'"https://a.example/x.gff.gz", "md5": "0", "bytes": 1}]}\n{"accession": "mine", "taxid": 0, '
    b'"organism": "", "licence": "", "retrieved": "", "source": "file", "sha256": "", '
    b'"records": ["a"]}\n'
).replace(b"GCF_000001.1", b"GCF_000001405.1")
FASTA = b">a first\nACGTNacgtRYK\nACGT\n>b\n\n>c\r\nACGT\r\n"
FASTQ = b"@a\nACGT\n+\nIIII\n@b x\nAC\nGT\n+b\n@@@@\n"
GFF = (
    b"##gff-version 3\n##sequence-region a 1 100\na\tx\tgene\t1\t90\t.\t+\t.\tID=g;Name=n%3B\n"
    b"a\tx\tmRNA\t1\t90\t.\t+\t.\tID=m;Parent=g\na\tx\tCDS\t1\t30\t.\t+\t0\tID=c;Parent=m\n"
    b"a\tx\tCDS\t40\t90\t.\t-\t2\tID=c;Parent=m\n##FASTA\n>a\nACGT\n"
)
GENBANK = (
    b"LOCUS       AB 12 bp DNA circular BCT 01-JAN-2000\nDEFINITION  x.\nACCESSION   AB\n"
    b"VERSION     AB.1\nFEATURES             Location/Qualifiers\n     source          1..12\n"
    b'                     /organism="O"\n     CDS             complement(join(1..4,6..9))\n'
    b'                     /gene="g"\n                     /codon_start=1\nORIGIN\n'
    b"        1 acgtacgtac gt\n//\n"
)
VCF = (
    b"##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"
    b"a\t3\trs1\tA\tG,T\t.\tPASS\tX=1\na\t9\t.\tAC\t<DEL>\t.\t.\t.\n"
)
BED = b"track name=x\na\t0\t10\tn\t5\t+\na\t5\t9\nb\t1\t20\tn\t0\t-\t1\t20\t0\t2\t3,4\t0,15\n"
TABLE = b"sequence\tlabel\tsplit\nACGT\t1\ttrain\nACGA\t0\ttest\n"
METRICS = (
    b'{"step": 1, "training": {"bits_per_base": 2.0, "num_bases": 5, "accuracy": 0.5}}\n'
    b'{"step": 2, "training": {"bits_per_base": NaN, "num_bases": 5}, "left_out": true}\n'
)
MANIFEST = json.dumps(
    {
        "format": 1, "name": "c", "tokenizer": "char", "vocabulary_sha256": "0", "dtype": "uint8",
        "shard_tokens": [4], "has_soft_mask": True, "inputs_sha256": "0", "split_rule": "tail",
        "num_train": 4, "num_validation": 0, "base_counts": {"A": 1}, "num_soft_masked": 0,
        "genomes": [{"name": "g"}], "tokenizer_settings": {},
    }
).encode()  # fmt: skip
PART = json.dumps(
    {
        "num_records": 1, "num_bases": 4, "base_counts": [1, 1, 1, 1, 0], "num_soft_masked": 0,
        "shard_tokens": [4], "empty": [], "sha256": {"a": "0"},
        "records": [{"record": "r", "length": 4, "shard": 0, "offset": 0, "num_bases": 4}],
    }
).encode()  # fmt: skip
GENOME = json.dumps(
    {
        "name": "g", "fasta": "g.fa", "sha256": "0", "num_records": 1, "num_bases": 4,
        "source": "file", "retrieved": "2026-01-01", "taxid": 5, "lineage": [{"taxid": 1}],
        "files": [{"format": "fasta", "file": "f", "url": "u", "md5": "0", "num_bytes": 4}],
    }
).encode()  # fmt: skip
REPORT = json.dumps(
    {
        "accession": "GCF_000001405.1", "organism": {"tax_id": 5, "organism_name": "x"},
        "assembly_info": {"assembly_level": "Contig", "release_date": "2020-01-01",
                          "assembly_status": "current", "atypical": {"warnings": []}},
        "assembly_stats": {"total_sequence_length": "500", "contig_n50": 3},
        "annotation_info": {}, "checkm_info": {"completeness": 99.0},
    }
).encode()  # fmt: skip
_INTERVAL = {"value": 0.5, "low": 0.25, "high": 0.75}
_MEASURES = {"accuracy": _INTERVAL, "mcc": _INTERVAL, "auroc": _INTERVAL}
EVIDENCE = json.dumps(
    {
        "model": "m", "weights_digest": "0", "counted_on": "c",
        "predictions": [
            {
                "question": "q",
                "rows": [
                    {"part": "all", "who": "model", "detail": None, "bits": _INTERVAL,
                     "accuracy": _INTERVAL, "gain": _INTERVAL, "num_bases": 5},
                ],
            }
        ],
        "tasks": [
            {
                "name": "t", "classes": ["a", "b"], "points": [],
                "rows": [
                    {"who": who, "seed": 0, "logistic": _MEASURES, "neighbours": _MEASURES,
                     "gain": _INTERVAL, "neighbourhood": {"purity": 0.5}}
                    for who in ("model", "3-mers")
                ],
            }
        ],
    }
).encode()  # fmt: skip
FINISHED = (
    b'{"job": "j", "rows": 1, "width": 2, "records": 1, "output": {"bytes": 1, "sha256": "0"}}'
)
ANNOTATED = (
    b"##gff-version 3\n##sequence-region a 1 30\na\tx\tgene\t1\t24\t.\t+\t.\tID=g\n"
    b"a\tx\tCDS\t1\t9\t.\t+\t0\tID=c;Parent=g\na\tx\tCDS\t13\t24\t.\t+\t0\tID=c;Parent=g\n"
    b"##FASTA\n>a\n" + b"ACGTT" * 6 + b"\n"
)
SUMMARY = (
    b"## See the README\n#assembly_accession\ttaxid\tspecies_taxid\torganism_name\tasm_name\t"
    b"assembly_level\tversion_status\tseq_rel_date\tasm_submitter\tgenome_size\tcontig_count\t"
    b"excluded_from_refseq\tftp_path\nGCF_000001405.1\t9606\t9606\tHomo sapiens\tx\tContig\t"
    b"latest\t2020/01/01\tS\t500\t3\tna\thttps://a.example/x\n"
)
# The three tables of a taxonomy dump, parted by NUL.
TAXDUMP = (
    b"1\t|\t1\t|\tno rank\t|\n2\t|\t1\t|\tdomain\t|\n3\t|\t2\t|\tspecies\t|\n\0"
    b"1\t|\troot\t|\t\t|\tscientific name\t|\n2\t|\tAa\t|\t\t|\tscientific name\t|\n"
    b"3\t|\tAa b\t|\t\t|\tscientific name\t|\n3\t|\tc\t|\t\t|\tsynonym\t|\n\0"
    b"9\t|\t3\t|\n"
)
MD5S = (
    b"d41d8cd98f00b204e9800998ecf8427e  ./a.fna.gz\nd41d8cd98f00b204e9800998ecf8427f  ./b.gff.gz\n"
)
TAXA = json.dumps(
    {
        "reports": [
            {
                "accession": "GCF_000001405.1",
                "taxonomy": {
                    "tax_id": 2, "organism_name": "x", "rank": "SPECIES", "parents": [1, 131567],
                    "secondary_tax_ids": [5], "current_scientific_name": {"name": "x"},
                    "classification": {"phylum": {"id": 7, "name": "p"}},
                },
            }
        ],
        "sci_name_and_ids": [
            {"sci_name": "x", "tax_id": "2", "rank": "SPECIES", "matched_term": "x"},
            {"sci_name": "X y", "tax_id": "5", "common_name": "x"},
        ],
        "assembly_links": [
            {"accession": "GCF_000001405.1", "assembly_link_type": "FTP_LINK", "resource_link": "u"}
        ],
    }
).encode()  # fmt: skip
QUANTITIES = b"id\tsequence\tlabel\n" + b"".join(
    b"r%d\tACGT%s\t%d.5\n" % (row, b"ACGT"[row % 4 : row % 4 + 1] * row, row) for row in range(9)
)
SEVERAL = b"sequence,label\n" + b"".join(
    b"ACGT%s,%s\n" % (b"ACGT"[row % 4 : row % 4 + 1] * row, (b"a;b", b"a", b"b;c")[row % 3])
    for row in range(9)
)
PER_BASE = b"sequence\tlabel\n" + b"".join(b"ACGTA\t0110%d\n" % (row % 2) for row in range(9))
SPLIT_FASTA = b">a|0\nACGT\n>b|1\nGGTA\n>c|1\nGGT\n"
_SCORE = {"bits_per_base": 1.9, "accuracy": 0.5, "num_bases": 5}
RUN_SUMMARY = json.dumps(
    {
        "model": _SCORE, "counts": _SCORE, "counts_order": 3, "random_twin": _SCORE,
        "num_parameters": 5, "num_steps": 5, "num_bases_seen": 5, "num_train_bases": 5,
        "split_rule": "tail", "training_seconds": 1.5, "environment": {"torch": "2"}, "corpus": "c",
    }
).encode()  # fmt: skip
REQUEST = b'{"question": {}, "taxa": {"x": {"taxid": 5, "name": "x", "rank": "species"}}}'
FAILURE = b'{"kind": "InputError", "message": "m", "hint": "h"}'
SIDECAR = b'{"url": "https://a.example/x", "validator": "\\"a\\"", "total": 7}'
