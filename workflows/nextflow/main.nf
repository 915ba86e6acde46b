nextflow.enable.dsl = 2

include { GENOMEFORMER_EMBED   } from './modules/embed'
include { GENOMEFORMER_MERGE   } from './modules/merge'
include { GENOMEFORMER_PREDICT } from './modules/predict'
include { GENOMEFORMER_SCORE   } from './modules/score'

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
    versions = GENOMEFORMER_EMBED.out.versions.mix(GENOMEFORMER_MERGE.out.versions, GENOMEFORMER_SCORE.out.versions)
    if (params.classifier) {
        GENOMEFORMER_PREDICT(samples, params.classifier)
        versions = versions.mix(GENOMEFORMER_PREDICT.out.versions)
    }
    versions.unique { path -> path.text }.collectFile(name: 'versions.yml', storeDir: params.outdir)
}
