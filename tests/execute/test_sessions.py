"""What a conversation leaves behind."""

from metabolic.core.attempt import Answer, Attempt, Call, Reply, ReplyChoice, Run, ToolCall
from metabolic.core.decision import Decision
from metabolic.core.request import Ask, Message, Request, Text, ToolResult, Usage, WarmPrefix
from metabolic.execute.sessions import Sessions, tool_call_ids


def finished(*names, session="s", tenant=None):
    attempts = tuple(
        Attempt(
            call=Call(id=f"c{number}", stage=number, deployment=name),
            began_s=0.0,
            ended_s=1.0,
            usage=Usage(input_tokens=90, output_tokens=10),
        )
        for number, name in enumerate(names)
    )
    run = Run(
        decision=Decision(stages=()),
        attempts=attempts,
        answer=Answer(call=attempts[-1].call.id, deployment=names[-1]),
    )
    return Ask(id="r", at_s=1.0, session=session, tenant=tenant), run


def answering(call_id):
    return Request(
        id="r",
        dialect="chat",
        model="auto",
        messages=(
            Message(role="user", content=(Text(text="hi"),)),
            Message(role="tool", content=(ToolResult(id=call_id, text="42"),)),
        ),
    )


def test_every_deployment_that_read_the_conversation_is_warm():
    sessions = Sessions()
    sessions.learn(*finished("small", "large"), ())
    assert sessions.warm(None, "s") == (
        WarmPrefix(deployment="large", prefix_tokens=100),
        WarmPrefix(deployment="small", prefix_tokens=100),
    )


def test_sessions_of_tenants_are_apart():
    sessions = Sessions()
    sessions.learn(*finished("small", tenant="a"), ())
    assert sessions.warm("b", "s") == ()


def test_a_tool_result_finds_the_model_that_called():
    sessions = Sessions()
    sessions.learn(*finished("small"), ("call_1",))
    assert sessions.pin(None, answering("call_1")) == "small"
    assert sessions.pin(None, answering("call_2")) is None
    assert sessions.pin("other tenant", answering("call_1")) is None


def test_only_so_much_is_remembered():
    sessions = Sessions(capacity=2)
    for name in ("one", "two", "three"):
        sessions.learn(*finished("small", session=name), ())
    assert sessions.warm(None, "one") == ()
    assert sessions.warm(None, "three") != ()


def test_the_ids_of_tool_calls_are_read_from_the_answer():
    reply = Reply(
        choices=(ReplyChoice(tool_calls=(ToolCall(name="f", arguments="{}", id="call_1"),)),)
    )
    assert tool_call_ids(reply) == ("call_1",)
    assert tool_call_ids(None) == ()
