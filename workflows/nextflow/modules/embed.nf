process GENOMEFORMER_EMBED {
    tag "$meta.id"
    label 'process_low'
    conda 'bioconda::genomeformer=0.1.0'

    input:
    tuple val(meta), path(sequences), val(piece), val(pieces)
    val model

    output:
    tuple val(meta), path('*.npy'), path('*.npy.json'), emit: vectors
    path 'versions.yml', emit: versions

    script:
    """
    export GENOMEFORMER_HOME=\$PWD/cache
    genomeformer embed $sequences --model $model --shard $piece/$pieces --workers $task.cpus -o ${meta.id}.${piece}.npy

    cat <<-END > versions.yml
    "${task.process}":
        genomeformer: \$(genomeformer --version | sed 's/genomeformer //')
    END
    """

    stub:
    """
    touch ${meta.id}.${piece}.npy ${meta.id}.${piece}.npy.json
    echo '"${task.process}": {genomeformer: stub}' > versions.yml
    """
}
