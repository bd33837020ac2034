"""The rendered prompts stay byte for byte what they are: replies are found in the cache by them.

Where a prompt is changed on purpose, run this file for a new table.
"""

import hashlib
import json

import pytest

from dataenvgym.agents.prompt_files import list_domains, list_prompts
from dataenvgym.agents.prompts import load_prompt
from dataenvgym.commands.prompt_samples import samples

HASHES: dict[str, str] = {
    "code/diagnose_errors/full": "150b6ecbbe63c641d8e5aec23777ff4b54fc7586eaceb195352733326272fa40",
    "code/diagnose_errors/bare": "4b30d754fb55a037e69a26db95e34a8529a6545c8826690e7855f7a02c24519c",
    "code/generate_rows/full": "b9e34802a46ce48644bc83ac93b3e2823f725522ab100787054252ec3e65a769",
    "code/generate_rows/bare": "5671ef891306600f99fafbcd9e13d2aca0bd441e287416d3d71809b291b1d4df",
    "code/label_skills/full": "ecf2b9a2429358d4998794ad27c8fc8aa10239ce7d451b15bc609ef46b937a5c",
    "code/label_skills/bare": "79185e19b2e94c3b8ee84790b067a55e989649f23b4547f62c526e3b7797b6a9",
    "code/merge_skills/full": "1e2db55a414e0b161794b43ebf7dd72961ed5a80a3945bd035e47e8c6304ad5b",
    "code/merge_skills/bare": "4b2cb4999746f7f18a10a78663e54f61a1489e4c5b99342877ec569c4f1d9c5d",
    "code/plan_open_ended/full": "e9b99d4012b94544f514a000d8e3fe7c26bad82135b4f7784abc13d937793005",
    "code/plan_open_ended/bare": "c6967038425af13693ae564637d4948816e5dc26c07f1779e4529fe1977c668f",
    "code/plan_skill_list/full": "494175351e33e38cdae3aa36760117085faba8b634386fb2c737eae0c2153848",
    "code/plan_skill_list/bare": "f016094ac1e03ab8f50b2fd522f333fc478b72fd69685da7103c83d0e82ff730",
    "code/plan_skill_tree/full": "ec9874f927a21ab3e50f5bd021ba52dfc38da2b81b0462324682beeedc481362",
    "code/plan_skill_tree/bare": "ebe41488f338f6e0fcfe6e3922afef6bf6e32b10abe1ad12bf960193754cd2f1",
    "code/plan_without_state/full": "44a98364aae76104eff4b526f26f6129f89d5833186eeb7a79bc3bf49eb5ab34",
    "code/plan_without_state/bare": "62229ced100b15784e2e7e26b2f0a9f241b30a5251d1387c7b607563fa0c2f2a",
    "code/propose_subskills/full": "0654c5b5baf2b03287d1d10cb76ed10e9c398262c69ca4d64edbddd7d9df5138",
    "code/propose_subskills/bare": "2c74951eaec39309c03e3d369a96d2ea6f53eb0eb00381647fca23a41136fa91",
    "code/solve/full": "9b9f90e6fbe4f8cb27ec860be087de6300c59192bde390b341777bf7c07e5ca9",
    "code/solve/bare": "e924c51f99be492be437c3716813d08aca30402d6ceff58ce4863491ca78c717",
    "math/diagnose_errors/full": "67d9d0179709a277a55435e73d7e5659de55092bfa229f33e50064bcf0a81b8d",
    "math/diagnose_errors/bare": "029787d24c4e773b5820c1546b6cbc42f3140ad20a7e68efa5d2ce3fe7fb0192",
    "math/generate_rows/full": "fa08f7f16ac9932b4146b564b385267e927b256174b31d4399ffaca659a81daf",
    "math/generate_rows/bare": "6099cf17c68077a45b906bf50acae28161e4f8146e18944a94b62ee4e29f3c9d",
    "math/label_skills/full": "430afdc405fea3526ddf31505fa64e258c76990c3dd69584350ecf1609a9a9e6",
    "math/label_skills/bare": "7ef8bb5a1eb3e5e6f63057e30e0bc859adcd3ae6b6d0ab727836e0f021d593f2",
    "math/merge_skills/full": "19801b5cf0f86e9f7fd65c8fbd945f4cba1f407b0d2a55424d5277cc767a1b10",
    "math/merge_skills/bare": "6e69028ec948cab4da311b84be3033c6846534de7bd66617dd3c8e53897b2490",
    "math/plan_open_ended/full": "cdcf0573558008b19cf4f69772587f3a9bdfb90ddf0b9339ef1859bc48bf8db4",
    "math/plan_open_ended/bare": "0417f886273d628aa6b1ae1cd2e9963ccd0d2ce81abce8af08e81d545077634a",
    "math/plan_skill_list/full": "e620a2432efd7ed39f090af7a92d4c17437c77fc1619fc9c6220206498d7693b",
    "math/plan_skill_list/bare": "3f7148b40a76c5a2930dcaba7af8fa094b09bd10a19d8710882a0b32ba30c1d7",
    "math/plan_skill_tree/full": "0c7ab948336dda0be39aff44c79e96bd2d2b20edfaa188af50622018b0592a57",
    "math/plan_skill_tree/bare": "2936dfd830d0942335a0cef5907ab422a6751a5768c1ed6d0ddd46952556e930",
    "math/plan_without_state/full": "03ea352c64f08462d68b3473e8efbceaa5999752a4eb462bcf20c9ad05ac62e5",
    "math/plan_without_state/bare": "be73b83f096321e15251534773c2da7f978139a76cf6accdf3a91ba8c4f6613f",
    "math/propose_subskills/full": "da4b81f908d7ec8b939d82fd2222bdde192bd04b933a5c56bff3b1a6fe19ae5f",
    "math/propose_subskills/bare": "4a2baf7ac7015a7a8cc73ddc992f0f2ab1d4ad59d1ad1f9ce7f3dc9f0ed650bb",
    "math/solve/full": "6e0e119fd5faecb7af162bb01ae3ceb63cb92d488d2f231da2bf372bd6e0a2c9",
    "math/solve/bare": "e47da53a8030de26a6a067b44b50a72e592b420eed6c83457658d1c5378d9d03",
    "tool_use/diagnose_errors/full": "83b68dd349364e593289cdc51245adf069621ba1bb6a380370a8e818872e740f",
    "tool_use/diagnose_errors/bare": "4f31ae19b277420762eeaaed71aeec1e1b4d504f29aa47fe7ab639fb128f9744",
    "tool_use/generate_rows/full": "4bbf1d15555106a56f3ef0b8db6301768d6e1a14952a7ba7a8b1eae7fdcc2ba5",
    "tool_use/generate_rows/bare": "0556e99f2161499a89a247b3aeabc537fbd9962b6a178d440746f4f154cb799c",
    "tool_use/label_skills/full": "1e383fffd776cf5b36a90b76b0f89c3209c4cd35d194a43c5b9fd5b0f1efdc37",
    "tool_use/label_skills/bare": "41214b147d4edc7ced1d794f5e35ebf71b2926951248c97bbcfecad0b1cd5e2e",
    "tool_use/merge_skills/full": "efcf66b48860e7ba22197d2c113cdd40073448720cee6cb376f6e350737c0e98",
    "tool_use/merge_skills/bare": "c1553f47b2835d13afcd6848fcbe4b13c9ea6b797ed2e512cfbab6738065bb7a",
    "tool_use/plan_open_ended/full": "315acb1bbc5e0ce5697c0c326bae5be2f15d435f6166eaa48433866fe1756608",
    "tool_use/plan_open_ended/bare": "0987d4578a239043d5d7dc99361dc1e7fa70cb988c8158ae63740cb5791ddd11",
    "tool_use/plan_skill_list/full": "4ab628a7a5c4e7f7de5d47eff8f82e04e7e8e75025e1a29e37c0e289fb8ada98",
    "tool_use/plan_skill_list/bare": "595d98249ec41484b978333ad6874e9a9ee99c40a128a78df010d65c3b637e90",
    "tool_use/plan_skill_tree/full": "e76b584a8481f522183841d4d073c54f8a017ef2408dfda62ef18d730bac8dd1",
    "tool_use/plan_skill_tree/bare": "e10b69a28840b18b8b92b7e79f1b205229fb7028b463129034dad37521fd1833",
    "tool_use/plan_without_state/full": "9534876381271287862251ad43e05f31931366323bb404e8f357dc8f7fcb1d52",
    "tool_use/plan_without_state/bare": "4fd57cabcfe1e3d64cf012eace5b8fe122861192fc0e8564aeff1840e2b4704e",
    "tool_use/propose_subskills/full": "bca61334e01db3bc99405227a37b44aadc033d9059cb580e11870cd5481341d9",
    "tool_use/propose_subskills/bare": "42dad382c5757474ff5314e52e38a4b3f3086bf1b79baa368fa31df903cf17a1",
    "tool_use/solve/full": "e4dc5433460280d85eb611a7bee99338f3ec88eb694a86b470ece3b51c6082d8",
    "tool_use/solve/bare": "9a2379276fb54984250845f4dfe1c095bb8f424b405cafbc45d19fad3d399ac5",
    "text/diagnose_errors/full": "2562f8448605a71f35c2f1f580307bbba976623d6b1be2ffd8ee6474996a302d",
    "text/diagnose_errors/bare": "9836f1c4120b18278fc66f960b5d9c94484cedd1c27b8c94d6a9d6efcaf4486e",
    "text/generate_rows/full": "31f66ce7189a757d5fe6dc19f9f4a8459d512a87671ee07b7178446ffbb47ccc",
    "text/generate_rows/bare": "90d4796d1d1123f37edce5e74fb13e21b0f8fe2243f766e287d689c84cc83f9f",
    "text/label_skills/full": "b4b3af0c59c561e1382a4d76eac5e294f0a21388cf0984f80c54b884f07c162d",
    "text/label_skills/bare": "a29336392e01e0acd5733501fe272431835394bcde7d304ac21243da0f58875c",
    "text/merge_skills/full": "54ce921d9b33dfdfe8e758be4b888b1f4e9ffd141949cde5c564823bbfcf1b9c",
    "text/merge_skills/bare": "1b79d0fef8429feeace40e7c5b9197c2e8e294ae389844724086597396ce1714",
    "text/plan_open_ended/full": "69392928af3697b7cf32be49780ca6762120966a17f62ec447d4e330c2720d35",
    "text/plan_open_ended/bare": "c212e2f53824a9159a57cb71545580a3552ee95e4990f6817c2b35ae5b96968c",
    "text/plan_skill_list/full": "f6967a6b86b86d74abc34e4befb09a61de1f3728cb38e4a0995aad609394de2b",
    "text/plan_skill_list/bare": "b3494bbc8f5d6c331876248b7599cc8fe190646a299d0ff9a2a94bd41b030206",
    "text/plan_skill_tree/full": "9bf9075d7adce3363b0cfafb2f217175448dcb80d295af089ef4e17956e90a9e",
    "text/plan_skill_tree/bare": "6ddbd958f68bd870de3127fc4174a7688b0fc579f34e75a99bfff23b0227b3e3",
    "text/plan_without_state/full": "493ed000e72c217b096941e00b38f9dd80cfb34ff4dde5df31fe0d8f8f97df74",
    "text/plan_without_state/bare": "934efd9c8010f3a6c72d0216e161c904b127fef0437f0ea29d17aace2b8914d0",
    "text/propose_subskills/full": "27f6cec95c115e5912814d1e6734afc18e6d61e313349c0ff7bf422bd94bfbf7",
    "text/propose_subskills/bare": "098e01c1511f0301bdf49f8f3de33e7cac1b660ea923e94eb6a4a295ed14f05c",
    "text/solve/full": "f9cc0c8b91a961639f9fc82e56679e4d4bb2a6284fb8c7968aed3526ece115c3",
    "text/solve/bare": "b97ced16202ae004fe72cb5c17662653e7a6ac40f8694456b6b2e89b26c06df1",
}


def rendered(domain: str, name: str, variant: str) -> str:
    """sha256 of the system message and the text."""
    prompt = load_prompt(domain, name).render(**getattr(samples(domain)[name], variant))
    return hashlib.sha256(json.dumps([prompt.system, prompt.text]).encode()).hexdigest()


def every_prompt() -> list[tuple[str, str, str]]:
    return [
        (domain, name, variant)
        for domain in list_domains()
        for name in list_prompts(domain)
        for variant in ("full", "bare")
    ]


@pytest.mark.parametrize(("domain", "name", "variant"), every_prompt())
def test_a_prompt_is_rendered_as_before(domain: str, name: str, variant: str) -> None:
    assert rendered(domain, name, variant) == HASHES[f"{domain}/{name}/{variant}"]


def test_no_prompt_is_missing() -> None:
    assert set(HASHES) == {"/".join(one) for one in every_prompt()}


if __name__ == "__main__":
    for one in every_prompt():
        print(f'    "{"/".join(one)}": "{rendered(*one)}",')
