process GENOMEFORMER_PREDICT {
    tag "$meta.id"
    label 'process_low'
    conda 'bioconda::genomeformer=0.1.0'
    publishDir params.outdir, mode: 'copy', pattern: '*.{npy,tsv,json}'

    input:
    tuple val(meta), path(sequences)
    val model

    output:
    tuple val(meta), path('*.predictions.tsv'), emit: predictions
    path 'versions.yml', emit: versions

    script:
    """
    export GENOMEFORMER_HOME=\$PWD/cache
    genomeformer predict $sequences --model $model --workers $task.cpus -o ${meta.id}.predictions.tsv

    cat <<-END > versions.yml
    "${task.process}":
        genomeformer: \$(genomeformer --version | sed 's/genomeformer //')
    END
    """

    stub:
    """
    touch ${meta.id}.predictions.tsv
    echo '"${task.process}": {genomeformer: stub}' > versions.yml
    """
}
