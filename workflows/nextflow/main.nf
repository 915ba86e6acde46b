nextflow.enable.dsl = 2

include { GENOMEFORMER_EMBED   } from './modules/local/genomeformer/embed/main'
include { GENOMEFORMER_MERGE   } from './modules/local/genomeformer/merge/main'
include { GENOMEFORMER_PREDICT } from './modules/local/genomeformer/predict/main'
include { GENOMEFORMER_SCORE   } from './modules/local/genomeformer/score/main'

workflow {
    if (!params.input) {
        error "give a table of samples: --input samples.csv"
    }
    samples = Channel.fromPath(params.input, checkIfExists: true)
        .splitCsv(header: true)
        .map { row -> [[id: row.sample], file(row.sequences, checkIfExists: true)] }

    pieces = samples.combine(Channel.of(1..params.pieces))
    GENOMEFORMER_EMBED(pieces.map { meta, sequences, piece -> [meta, sequences, piece, params.pieces] }, params.model)
    GENOMEFORMER_MERGE(GENOMEFORMER_EMBED.out.vectors.groupTuple(size: params.pieces))
    GENOMEFORMER_SCORE(samples, params.model)
    if (params.classifier) {
        GENOMEFORMER_PREDICT(samples, params.classifier)
    }
    Channel.topic('versions')
        .unique()
        .map { process, tool, version -> "\"${process}\":\n    ${tool}: \"${version}\"\n" }
        .collectFile(name: 'versions.yml', storeDir: params.outdir, sort: true)
}
